"""Preprocessing: equal and mixed sizes, maps between pixels. The released numbers are in tests/golden."""

import numpy as np
import pytest
import torch

from geometry.errors import InputError
from geometry.sampling.preprocess import (
    PATCH,
    prepare_views,
    released_resize,
)
from geometry.scenes.scene import Frame, Scene


def blocks(seed, width, height):
    """The stored test image: 12 x 16 random colours, each repeated."""
    small = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    rows, columns = np.arange(height) * 12 // height, np.arange(width) * 16 // width
    return small[rows][:, columns]


def to_network(pixel_map, pixels):
    return pixels * pixel_map.scale - pixel_map.offset


def frame(size, index=0, posed=True, pixels=None):
    h, w = size
    pose = np.eye(4)
    pose[0, 3] = index
    K = np.array([[w, 0, 0.4 * w], [0, w * 1.1, 0.55 * h], [0, 0, 1]])
    image = pixels if pixels is not None else np.full((h, w, 3), 10 * index, np.uint8)
    return Frame(
        name=str(index),
        image=lambda: image,
        image_size=size,
        extrinsics=pose if posed else None,
        intrinsics=K if posed else None,
    )


def scene(*sizes, **kwargs):
    return Scene(name="s", frames=tuple(frame(size, i, **kwargs) for i, size in enumerate(sizes)))


def test_equal_sizes_are_prepared_as_released():
    photos = [blocks(i, 200, 150) for i in range(3)]
    frames = tuple(frame((150, 200), i, pixels=p) for i, p in enumerate(photos))
    views, maps = prepare_views(Scene(name="s", frames=frames), [2, 0], process_res=98)
    for view, index in enumerate([2, 0]):
        expected, pixel_map = released_resize(photos[index], 98)
        torch.testing.assert_close(views.images[0, view], torch.from_numpy(expected).permute(2, 0, 1) / 255)
        K = pixel_map.network_intrinsics(frames[index].intrinsics)
        np.testing.assert_allclose(views.cameras.intrinsics[0, view], K, rtol=1e-6)
    assert views.cameras.extrinsics[0, :, 0, 3].tolist() == [2, 0]
    assert views.images.dtype == torch.float32
    assert maps[0].network_size == (70, 98)


def test_photos_of_one_shape_and_different_resolution_are_not_cut():
    _, maps = prepare_views(scene((300, 400), (600, 800)), process_res=98)
    assert [m.kept for m in maps] == [1.0, 1.0]


@pytest.mark.parametrize("released_crop", [False, True])
def test_intrinsics_follow_the_pixels(released_crop):
    """A white square is found in the network image where the map and the intrinsics put it."""
    frames = []
    for i, (h, w) in enumerate([(300, 401), (402, 301), (333, 444)]):
        pixels = np.zeros((h, w, 3), np.uint8)
        pixels[140:180, 130:190] = 255  # centre (160, 160)
        frames.append(frame((h, w), i, pixels=pixels))
    views, maps = prepare_views(
        Scene(name="s", frames=tuple(frames)), process_res=140, released_crop=released_crop
    )
    assert views.image_size[0] % PATCH == views.image_size[1] % PATCH == 0
    for view, (original, pixel_map) in enumerate(zip(frames, maps)):
        white = views.images[0, view, 0]
        total = white.sum()
        x = (white.sum(0) * (torch.arange(white.shape[1]) + 0.5)).sum() / total
        y = (white.sum(1) * (torch.arange(white.shape[0]) + 0.5)).sum() / total
        np.testing.assert_allclose(to_network(pixel_map, np.array([160.0, 160.0])), [x, y], atol=0.05)
        ray = np.linalg.inv(original.intrinsics) @ [160, 160, 1]
        projected = views.cameras.intrinsics[0, view].double().numpy() @ ray
        np.testing.assert_allclose(projected[:2] / projected[2], [x, y], atol=0.05)


def test_cover_takes_the_median_shape():
    _, maps = prepare_views(scene((300, 400), (300, 400), (400, 300)), process_res=140)
    assert maps[0].network_size == (112, 140)  # 105 is half-way between 98 and 112 and goes up
    # 112 x 140 is 5:4, so a 4:3 photo keeps 15/16 and a 3:4 photo 3/5.
    assert maps[0].kept == pytest.approx(15 / 16, abs=0.01)
    assert maps[2].kept == pytest.approx(3 / 5, abs=0.01)


def test_an_even_mix_meets_at_a_square():
    _, maps = prepare_views(scene((300, 400), (400, 300)), process_res=140)
    assert maps[0].network_size == (140, 140)
    assert [m.kept for m in maps] == pytest.approx([0.75, 0.75])


def test_released_crop_takes_the_minimum():
    _, maps = prepare_views(scene((300, 400), (400, 300)), process_res=504, released_crop=True)
    assert maps[0].network_size == (378, 378)
    assert maps[0].offset == (63, 0)


def test_map_inverts_itself():
    _, pixel_map = released_resize(blocks(0, 505, 378), 252, "lower_bound_crop")
    points = np.random.default_rng(0).uniform(0, 200, (10, 2))
    np.testing.assert_allclose(pixel_map.to_photo(to_network(pixel_map, points)), points)


def test_only_chosen_photos_are_decoded():
    def refuse():
        raise AssertionError("decoded")

    frames = (frame((30, 40)), Frame(name="x", image=refuse, image_size=(30, 40)))
    views, _ = prepare_views(Scene(name="s", frames=frames), [0], process_res=28)
    assert views.images.shape[1] == 1


def test_unposed_has_no_cameras_and_bad_requests_are_refused():
    views, _ = prepare_views(scene((30, 40), posed=False), process_res=28)
    assert views.cameras is None
    with pytest.raises(InputError, match="at least 14"):
        prepare_views(scene((30, 40)), process_res=13)
    with pytest.raises(InputError, match="at least one photo"):
        prepare_views(scene((30, 40)), [])


def test_a_size_that_differs_from_the_header_is_reported():
    bad = Frame(name="liar.jpg", image=lambda: np.zeros((10, 10, 3), np.uint8), image_size=(30, 40))
    with pytest.raises(InputError, match=r"liar\.jpg"):
        prepare_views(Scene(name="s", frames=(bad,)), process_res=28)


def test_shrinking_averages():
    board = ((np.indices((280, 280)).sum(0) % 2) * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, -1)
    small, _ = released_resize(image, 140)
    assert abs(int(small.mean()) - 127) <= 1
    assert small.std() < 1

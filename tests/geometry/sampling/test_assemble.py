"""One sample: whatever is done to it, its views still agree with each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import make_room, scene_of
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.ops import pinhole
from geometry.sampling.assemble import assemble, sparse_depth_map
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.views import Cameras


@pytest.fixture(scope="module")
def scene():
    return scene_of(make_room(4, (90, 120)), metric=True)


def disagreement(example, first, second):
    """Median relative depth and colour difference of first's pixels seen in second."""
    depth, images, cameras = example.truth.depth, example.views.images, example.truth.cameras
    H, W = depth.shape[-2:]
    world = pinhole.unproject(depth, cameras)[:, first]
    other = Cameras(
        extrinsics=cameras.extrinsics[:, second : second + 1],
        intrinsics=cameras.intrinsics[:, second : second + 1],
    )
    pixels, z = pinhole.project(world[:, None], other)
    x, y = pixels[0, 0].floor().long().unbind(-1)
    z = z[0, 0]
    seen = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (z > 0) & (depth[0, first] > 0)
    there = depth[0, second][y[seen], x[seen]]
    colour = images[0, first][:, seen] - images[0, second][:, y[seen], x[seen]]
    return (there / z[seen] - 1).abs().median(), colour.abs().median(), seen.float().mean()


AUGMENTATIONS = [
    GeometricAugmentation(),
    GeometricAugmentation(zoom=(1.2, 1.4), shift=0.8, stretch=1.2),
    GeometricAugmentation(flip=1.0, shift=0.5, zoom=(1.3, 1.3)),
    GeometricAugmentation(quarter_turn=1.0),
    GeometricAugmentation(quarter_turn=1.0, flip=1.0),
]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("size", [(56, 84), (84, 56)])
def test_views_agree_under_every_augmentation(scene, augmentation, size):
    example = assemble(scene, [2, 0, 3], size, rng=np.random.default_rng(1), augmentation=augmentation)
    assert example.views.images.shape == (1, 3, 3, *size)
    assert example.truth.valid.all()
    for first, second in ((0, 1), (1, 2), (2, 0)):
        depth, colour, share = disagreement(example, first, second)
        assert share > 0.2
        assert depth < 0.02
        assert colour < 0.04


def test_world_is_that_of_the_first_view(scene):
    far = replace(
        scene,
        frames=tuple(
            replace(f, extrinsics=f.extrinsics @ np.block([[np.eye(3), np.full((3, 1), -4e6)], [0, 0, 0, 1]]))
            for f in scene.frames
        ),
    )
    near, moved = (
        assemble(s, [1, 2], (56, 84), rng=np.random.default_rng(0)).truth.cameras for s in (scene, far)
    )
    assert_close(near.extrinsics[0, 0], torch.eye(4))
    assert_close(
        near.extrinsics, moved.extrinsics, atol=1e-5, rtol=0
    )  # float32 at 4000 km would be off by 0.5


def test_same_generator_same_sample(scene):
    augmentation = AUGMENTATIONS[1]
    a, b = (
        assemble(scene, [0, 1], (56, 84), rng=np.random.default_rng(5), augmentation=augmentation)
        for _ in range(2)
    )
    assert torch.equal(a.views.images, b.views.images)
    assert torch.equal(a.truth.cameras.intrinsics, b.truth.cameras.intrinsics)


def test_masks_and_labels(scene):
    frame = scene.frames[0]
    labelled = replace(frame, sky=lambda: np.arange(90)[:, None].repeat(120, 1) < 30)
    sky = replace(scene, frames=(labelled,))
    example = assemble(sky, [0], (45, 60), rng=np.random.default_rng(0), labels=("sky",))
    assert example.truth.sky[0, 0, :15].all()
    assert not example.truth.sky[0, 0, 15:].any()
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="frame 00: expected a mask of sky"):
        assemble(scene, [0], (45, 60), rng=rng, labels=("sky",))
    indoors = assemble(scene, [0], (45, 60), rng=rng, labels=("sky",), without_sky=True)
    assert not indoors.truth.sky.any()
    with pytest.raises(InputError, match="expected a mask of objects"):
        assemble(scene, [0], (45, 60), rng=rng, labels=("objects",), without_sky=True)


def test_sparse_points_are_depth_where_there_is_no_map():
    room = make_room(2, (90, 120))
    scene = scene_of(room, depth=False)
    view = room[0]
    rows, columns = np.array([10, 40, 70]), np.array([15, 60, 100])
    pixels = np.stack((columns + 0.5, rows + 0.5, np.ones(3)), -1)
    local = pixels @ np.linalg.inv(view.intrinsics).T * view.depth[rows, columns][:, None]
    points = (local - view.extrinsics[:3, 3]) @ view.extrinsics[:3, :3]
    scene = replace(scene, points=points, visibility=(np.arange(3), np.zeros(0, np.int64)))
    example = assemble(scene, [0, 1], (90, 120), rng=np.random.default_rng(0))
    assert example.truth.valid[0, 0].sum() == 3
    assert_close(
        example.truth.depth[0, 0][rows, columns], torch.from_numpy(view.depth[rows, columns]).float()
    )
    assert not example.truth.valid[0, 1].any()
    small = assemble(scene, [0, 1], (45, 60), rng=np.random.default_rng(0)).truth.depth[0, 0]
    assert_close(small[rows // 2, columns // 2], torch.from_numpy(view.depth[rows, columns]).float())
    none = assemble(scene, [0], (90, 120), rng=np.random.default_rng(0), sparse_depth=False)
    assert not none.truth.valid.any()


def test_nearest_of_several_sparse_points():
    K = np.array([[10.0, 0, 5], [0, 10, 5], [0, 0, 1]])
    points = np.array([[0, 0, 4.0], [0, 0, 2.0], [0, 0, -1.0], [9.0, 0, 1.0]])
    depth = sparse_depth_map(points, np.eye(4), K, (10, 10))
    assert depth[5, 5] == 2
    assert (depth > 0).sum() == 1


def test_frames_without_cameras_are_named(scene):
    bare = replace(scene, frames=(replace(scene.frames[0], extrinsics=None),))
    with pytest.raises(InputError, match="frame 00: expected a camera"):
        assemble(bare, [0], (45, 60), rng=np.random.default_rng(0))


def test_photometric_changes_stay_in_range_and_can_be_shared(generator):
    images = torch.rand(1, 3, 20, 30, generator=generator).expand(4, -1, -1, -1)
    strong = {"brightness": 0.9, "jitter": 1.0, "hue": 0.3, "grey": 0.0, "blur": 0.5}
    each = PhotometricAugmentation(**strong)(images, torch.Generator().manual_seed(1))
    assert each.min() >= 0
    assert each.max() <= 1
    assert not torch.allclose(each[0], each[1])
    shared = PhotometricAugmentation(**strong, per_view=False)(images, torch.Generator().manual_seed(1))
    assert_close(shared[0], shared[3])
    assert not torch.allclose(shared[0], images[0])
    again = PhotometricAugmentation(**strong)(images, torch.Generator().manual_seed(1))
    assert torch.equal(each, again)


def test_grey_is_grey(generator):
    images = torch.rand(2, 3, 8, 8, generator=generator)
    grey = PhotometricAugmentation(grey=1.0, jitter=0.0, blur=0.0)(images, generator)
    assert_close(grey[:, 0], grey[:, 2])
    same = PhotometricAugmentation(grey=0.0, jitter=0.0, blur=0.0)(images, generator)
    assert torch.equal(same, images)

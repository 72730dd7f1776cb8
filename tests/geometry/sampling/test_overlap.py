"""Overlap from depth, points and space; draws that stay connected."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_room, render, scene_of

from geometry.errors import InputError
from geometry.sampling.overlap import overlap_of, sample_views

K = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])


def looking(angle, centre=(0.0, 0, 0)):
    """World-to-camera of a camera turned about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    E = np.eye(4)
    E[:3, :3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]]
    E[:3, 3] = -E[:3, :3] @ np.asarray(centre)
    return E


def two_walls(depth=True):
    """Six views of one wall, six of the opposite one: nothing in common."""
    angles = [*np.linspace(-0.2, 0.2, 6), *(np.pi + np.linspace(-0.2, 0.2, 6))]
    return scene_of(
        [render(looking(a, (0.1 * i, 0, 0)), K, (48, 64)) for i, a in enumerate(angles)], depth=depth
    )


def share(scene):
    return overlap_of(scene) / 255


def test_overlap_from_depth_matches_counting_pixels():
    """Every pixel of one view, looked for in the other with its depth; the lesser of both directions."""
    room = make_room(3)
    found = share(scene_of(room))
    H, W = 48, 64
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)

    def seen(i, j):
        rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(room[i].intrinsics).T
        world = (rays * room[i].depth[..., None]).reshape(-1, 3) - room[i].extrinsics[:3, 3]
        world = world @ room[i].extrinsics[:3, :3]
        local = world @ room[j].extrinsics[:3, :3].T + room[j].extrinsics[:3, 3]
        pixels = local @ room[j].intrinsics.T
        u, v = np.floor(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        inside = (local[:, 2] > 0) & (u >= 0) & (u < W) & (v >= 0) & (v < H)
        there = room[j].depth[np.clip(v, 0, H - 1), np.clip(u, 0, W - 1)]
        return (inside & (np.abs(there - local[:, 2]) < 0.05 * local[:, 2])).mean()

    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert found[i, j] == found[j, i] == pytest.approx(min(seen(i, j), seen(j, i)), abs=0.06)
    assert (np.diag(found) == 1).all()


def test_occlusion_is_seen():
    """Both look the same way; in the second a wall stands in front of everything."""
    view = render(np.eye(4), K, (48, 64))
    assert share(scene_of([view, view]))[0, 1] == 1
    hidden = replace(view, depth=np.full((48, 64), 0.5))
    assert share(scene_of([view, hidden]))[0, 1] == 0


def test_a_damaged_depth_map_leaves_the_others(monkeypatch):
    scene = scene_of(make_room(3))

    def cut_short():
        raise InputError("01.png: expected depth, could not read it")

    frames = (scene.frames[0], replace(scene.frames[1], depth=cut_short), scene.frames[2])
    assert share(replace(scene, frames=frames))[0, 2] == share(scene)[0, 2]


def test_frames_without_a_camera_overlap_with_none():
    scene = scene_of(make_room(3))
    frames = (scene.frames[0], replace(scene.frames[1], extrinsics=None), scene.frames[2])
    found = share(replace(scene, frames=frames))
    np.testing.assert_array_equal(found[1], [0, 1, 0])
    assert found[0, 2] == share(scene)[0, 2]


@pytest.mark.parametrize("depth", [True, False])
def test_draws_stay_on_one_wall(depth):
    scene = two_walls(depth)
    for seed in range(10):
        chosen = sample_views(scene, 4, np.random.default_rng(seed), least=0.3)
        assert len(set(chosen)) == 4
        assert len({i // 6 for i in chosen}) == 1


def test_overlap_from_points():
    scene = scene_of(make_room(3), depth=False)
    sees = (np.array([0, 1, 2, 3]), np.array([2, 3]), np.array([4]))
    scene = replace(scene, points=np.zeros((5, 3)), visibility=sees)
    np.testing.assert_allclose(share(scene), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], atol=0.003)


def test_scale_counts_in_both_directions():
    """A close-up of a corner lies wholly in the overview, which hardly lies in the close-up."""
    close = np.array([[500.0, 0, 32], [0, 500, 24], [0, 0, 1]])
    scene = scene_of([render(np.eye(4), K, (48, 64)), render(np.eye(4), close, (48, 64))])
    assert share(scene)[0, 1] == share(scene)[1, 0] < 0.03


def test_many_views_of_a_small_scene_are_filled_up():
    """Twelve views of two walls cannot be connected: the rest comes by most overlap, none twice."""
    chosen = sample_views(two_walls(), 9, np.random.default_rng(0), least=0.3)
    assert len(set(chosen)) == 9


def test_draws_follow_the_generator():
    scene = scene_of(make_room(8))
    draws = [sample_views(scene, 4, np.random.default_rng(s)) for s in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) > 1
    with pytest.raises(InputError, match="expected 9 views"):
        sample_views(scene, 9, np.random.default_rng(0))


def test_the_far_side_of_a_thing_is_another_side():
    """Two cameras face each other: the space between them is in both images, seen from opposite sides."""
    views = [
        render(looking(0.0, (0, 0, -2.0)), K, (48, 64)),
        render(looking(np.pi, (0, 0, 2.0)), K, (48, 64)),
        render(looking(0.1, (0.2, 0, -2.0)), K, (48, 64)),
    ]
    row = share(scene_of(views, depth=False))[0]
    assert row[1] < 0.2
    assert row[2] > 0.6


def test_a_panorama_has_overlap_too():
    views = [render(looking(a), K, (48, 64)) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    row = share(scene_of(views, depth=False))[0]
    assert row[1] == pytest.approx(row[11], abs=0.05)
    assert row[1] > 0.3
    assert row[6] == 0

"""Overlap from depth, points and space; draws that stay connected."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_room, render, scene_of

from geometry.errors import InputError
from geometry.sampling.overlap import Overlap, sample_views

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


def test_overlap_from_depth_matches_counting_pixels():
    room = make_room(3)
    overlap = Overlap(scene_of(room))
    row = overlap.row(0)
    H, W = 48, 64
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    local = (
        np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(room[0].intrinsics).T * room[0].depth[..., None]
    )
    world = (local.reshape(-1, 3) - room[0].extrinsics[:3, 3]) @ room[0].extrinsics[:3, :3]
    for j in (1, 2):
        p = (world @ room[j].extrinsics[:3, :3].T + room[j].extrinsics[:3, 3]) @ room[j].intrinsics.T
        inside = (
            (p[:, 2] > 0)
            & (p[:, 0] >= 0)
            & (p[:, 0] < W * p[:, 2])
            & (p[:, 1] >= 0)
            & (p[:, 1] < H * p[:, 2])
        )
        assert row[j] == pytest.approx(inside.mean(), abs=0.05)
    assert row[0] == 1


def test_occlusion_is_seen():
    """Both look the same way; in the second a wall stands in front of everything."""
    view = render(np.eye(4), K, (48, 64))
    scene = scene_of([view, replace(view, depth=np.full((48, 64), 0.5))])
    overlap = Overlap(scene)
    assert overlap.row(0)[1] == 1
    assert overlap.seen(0, 1) == 0


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
    overlap = Overlap(scene)
    np.testing.assert_allclose(overlap.row(0), [1, 0.5, 0])
    np.testing.assert_allclose(overlap.row(1), [1, 1, 0])


def test_scale_counts_in_both_directions():
    """A close-up of a corner lies wholly in the overview, which hardly lies in the close-up."""
    close = np.array([[500.0, 0, 32], [0, 500, 24], [0, 0, 1]])
    scene = scene_of([render(np.eye(4), K, (48, 64)), render(np.eye(4), close, (48, 64))])
    overlap = Overlap(scene)
    assert overlap.row(1)[0] == 1
    assert overlap.row(0)[1] < 0.03


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
    row = Overlap(scene_of(views, depth=False)).row(0)
    assert row[1] < 0.2
    assert row[2] > 0.6


def test_a_panorama_has_overlap_too():
    views = [render(looking(a), K, (48, 64)) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    row = Overlap(scene_of(views, depth=False)).row(0)
    assert row[1] == pytest.approx(row[11], abs=0.05)
    assert row[1] > 0.3
    assert row[6] == 0

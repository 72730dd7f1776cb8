"""View selection on cases solved by hand."""

import cv2
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.scenes.view_selection import (
    evenly_spaced,
    farthest_point_sampling,
    holdout_split,
    pose_distances,
    select_views,
)


def poses(centres, yaw_deg=None):
    out = np.tile(np.eye(4), (len(centres), 1, 1))
    for i, centre in enumerate(centres):
        angle = 0 if yaw_deg is None else np.deg2rad(yaw_deg[i])
        out[i, :3, :3] = cv2.Rodrigues(np.array([0.0, angle, 0]))[0]
        out[i, :3, 3] = -out[i, :3, :3] @ centre
    return out


def test_distance_adds_relative_shift_and_angle():
    extrinsics = poses([(0, 0, 0), (3, 4, 0), (10, 0, 0)], yaw_deg=(0, 90, 180))
    expected = [[0, 0.5 + 0.5, 1 + 1], [1, 0, np.hypot(7, 4) / 10 + 0.5], [2, np.hypot(7, 4) / 10 + 0.5, 0]]
    np.testing.assert_allclose(pose_distances(extrinsics), expected, atol=1e-12)


def test_farthest_point_sampling_on_a_line():
    # Mean centre 4.6: start at 4; then 10 (6 away), 0 (4 away), then 7 (min(3, 3) = 3) before 2 (2).
    extrinsics = poses([(x, 0, 0) for x in (0, 2, 4, 7, 10)])
    assert farthest_point_sampling(extrinsics, 5) == [2, 4, 0, 3, 1]
    assert farthest_point_sampling(extrinsics, 99) == [2, 4, 0, 3, 1]
    assert farthest_point_sampling(extrinsics, 2, candidates=[4, 0, 1]) == [1, 4]
    assert select_views(extrinsics, 5, 3) == [0, 2, 4]


def test_rotation_counts_where_centres_coincide():
    extrinsics = poses([(0, 0, 0)] * 4, yaw_deg=(0, 10, 100, 180))
    assert farthest_point_sampling(extrinsics, 3) == [0, 3, 2]


def test_repeated_poses_are_each_taken_once():
    assert farthest_point_sampling(poses([(1, 1, 1)] * 3), 3) == [0, 1, 2]


def test_choice_does_not_depend_on_the_world():
    rng = np.random.default_rng(0)
    extrinsics = poses(rng.normal(size=(20, 3)), rng.uniform(0, 90, 20))
    world = poses([(5, -3, 2)], [40.0])[0]
    moved = extrinsics @ world
    moved[:, :3, 3] *= 7.3
    assert farthest_point_sampling(moved, 8) == farthest_point_sampling(extrinsics, 8)


def test_even_spacing():
    assert evenly_spaced(10, 4) == [0, 3, 6, 9]
    assert evenly_spaced(5, 2) == [0, 4]
    assert evenly_spaced(6, 3) == [0, 3, 5]  # 2.5 rounds up
    assert evenly_spaced(7, 1) == [3]
    assert evenly_spaced(3, 8) == [0, 1, 2]
    for total in range(1, 40):
        for count in range(1, total + 1):
            assert len(set(evenly_spaced(total, count))) == count
    assert select_views(None, 10, 2, candidates=[1, 2, 5]) == [1, 5]


def test_holdout():
    context, target = holdout_split(18, 8)
    assert target == [0, 8, 16]
    assert context == [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 17]


@pytest.mark.parametrize(
    "call", [lambda: holdout_split(1), lambda: holdout_split(9, 1), lambda: evenly_spaced(3, 0)]
)
def test_impossible_requests(call):
    with pytest.raises(InputError, match="expected"):
        call()

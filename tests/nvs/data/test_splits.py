"""Context covers a part of the capture; targets are near and far."""

import numpy as np
import pytest

from geometry.errors import InputError
from geometry.scenes.view_selection import pose_distances
from nvs.data.splits import context_and_targets


def ring(count):
    """Cameras on a circle, looking inwards."""
    poses = []
    for a in np.linspace(0, 2 * np.pi, count, endpoint=False):
        forward = np.array([-np.cos(a), 0, -np.sin(a)])
        down = np.array([0.0, 1, 0])
        R = np.stack((np.cross(down, forward), down, forward))
        E = np.eye(4)
        E[:3, :3], E[:3, 3] = R, R @ forward * 3
        poses.append(E)
    return np.stack(poses)


def test_disjoint_and_complete():
    poses = ring(60)
    for seed in range(5):
        given, targets = context_and_targets(poses, 6, 4, np.random.default_rng(seed))
        assert len(given) == 6
        assert len(targets) == 4
        assert len({*given, *targets}) == 10


def test_whole_extent_is_covered_evenly():
    given, _ = context_and_targets(ring(60), 6, 4, np.random.default_rng(0), extent=(1.0, 1.0))
    gaps = np.diff(sorted(given))
    assert gaps.max() <= 16  # ten apart would be perfect; farthest points halve gaps


def test_a_small_part_stays_together():
    poses = ring(60)
    given, targets = context_and_targets(poses, 3, 2, np.random.default_rng(3), extent=(0.2, 0.2))
    distances = pose_distances(poses)[np.ix_([*given, *targets], [*given, *targets])]
    step = pose_distances(poses)[0, 1]
    assert distances.max() < 12.5 * step  # 12 neighbours of a ring lie within 11 steps


def test_near_and_far_targets():
    poses = ring(80)
    distances = pose_distances(poses)

    def away(far):
        values = []
        for seed in range(6):
            given, targets = context_and_targets(
                poses, 4, 4, np.random.default_rng(seed), extent=(1.0, 1.0), far=far
            )
            values += list(distances[np.ix_(targets, given)].min(axis=1))
        return np.mean(values)

    assert away(0.0) < 0.6 * away(1.0)


def test_exact_and_too_few():
    given, targets = context_and_targets(ring(5), 3, 2, np.random.default_rng(0))
    assert sorted([*given, *targets]) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="expected 4 context and 2 target views, got 5"):
        context_and_targets(ring(5), 4, 2, np.random.default_rng(0))


def test_long_captures_are_thinned():
    given, targets = context_and_targets(ring(900), 12, 4, np.random.default_rng(0))
    assert max(given + targets) < 900
    assert len({*given, *targets}) == 16

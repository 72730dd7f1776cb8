"""DTU's measure, solved by hand; views that agree are kept and views that do not are not."""

import numpy as np
import pytest
from scenes import make_room

from geometry.metrics.dtu import DtuTruth, consistent_points, dtu_metrics, thinned
from geometry.metrics.surface import lifted_points


def plane_truth(**changes):
    """A scanned square of 10 x 10 mm at z = 0, observed in cells of 1 mm from -2 to 12 mm, above z = -1."""
    y, x = np.mgrid[0:10.01:0.5, 0:10.01:0.5]
    fields = {
        "points": np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1),
        "observed": np.ones((15, 15, 15), bool),
        "box": np.array([[-2.0, -2, -2], [12, 12, 12]]),
        "cell": 1.0,
        "ground": np.array([0.0, 0, 1, 1]),
    }
    return DtuTruth(**fields | changes)


def test_a_raised_copy_is_as_far_as_it_was_raised():
    truth = plane_truth()
    scores = dtu_metrics(truth.points + np.array([0, 0, 0.3]), truth)
    assert scores == pytest.approx({"acc": 0.3, "comp": 0.3, "overall": 0.3})


def test_masks_box_ground_and_far_points():
    truth = plane_truth()
    far = np.array([[5.0, 5, 11], [5, 5, 500]])  # observed but 11 mm off; outside of everything
    cloud = np.concatenate((truth.points, far))
    n = len(truth.points)
    assert dtu_metrics(cloud, truth)["acc"] == pytest.approx(11 / (n + 1))
    hidden = truth.observed.copy()
    hidden[:, :, 13] = False  # the cell of z = 11
    assert dtu_metrics(cloud, plane_truth(observed=hidden))["acc"] == 0
    half = truth.points[truth.points[:, 0] <= 5]
    assert dtu_metrics(half, truth)["comp"] > 1
    ground = np.array([-1.0, 0, 0, 5.25])  # x < 5.25 is above
    assert dtu_metrics(half, plane_truth(ground=ground))["comp"] == 0
    beyond = plane_truth(points=np.concatenate((truth.points, [[5.0, 5, 30]])))
    assert dtu_metrics(truth.points, beyond)["comp"] == 0  # 30 mm: does not count
    assert dtu_metrics(truth.points[:0], truth)["overall"] == np.inf


def test_thinning_leaves_no_two_points_near_and_none_far():
    from scipy.spatial import cKDTree

    cloud = np.random.default_rng(0).uniform(size=(2000, 3))
    kept = thinned(cloud, 0.1)
    assert len(cKDTree(kept).query_pairs(0.1)) == 0
    assert cKDTree(kept).query(cloud)[0].max() <= 0.1
    assert 100 < len(kept) < 1000


def test_only_points_on_which_views_agree_are_kept():
    room = make_room(5)
    depth, E, K = (np.stack([getattr(v, n) for v in room]) for n in ("depth", "extrinsics", "intrinsics"))
    truth = lifted_points(depth, E, K)
    kept = consistent_points(depth, E, K, tolerance=0.05, views=4)
    assert len(kept) > 0.3 * len(truth)
    wrong = depth.copy()
    wrong[2] *= 1.2
    without = consistent_points(wrong, E, K, tolerance=0.05, views=4)
    assert 0 < len(without) < len(kept)
    walls = np.array([-3.0, -2, -3.5]), np.array([3.0, 2, 3.5])
    off = np.minimum(np.abs(without - walls[0]), np.abs(without - walls[1])).min(axis=1)
    assert off.max() < 0.06
    assert len(consistent_points(depth[:3], E[:3], K[:3], tolerance=0.05, views=4)) == 0

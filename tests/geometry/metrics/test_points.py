import numpy as np
import pytest

from geometry.metrics.points import point_cloud_metrics, voxel_downsample


def test_equals_the_released_evaluation(golden_dir):
    arrays = np.load(golden_dir / "bench_metrics.npz")
    ours = point_cloud_metrics(arrays["pc_pred"], arrays["pc_gt"], threshold=0.05)
    for name, value in ours.items():
        assert value == pytest.approx(float(arrays[f"recon_{name}"]), abs=1e-7)


def test_hand_solved():
    truth = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]])
    pred = np.array([[0.0, 0.1, 0], [1, 0.5, 0]])
    ours = point_cloud_metrics(pred, truth, threshold=0.5)
    assert ours["acc"] == pytest.approx((0.1 + 0.5) / 2)
    assert ours["precision"] == 0.5  # 0.5 is not strictly below 0.5
    assert ours["comp"] == pytest.approx((0.1 + 0.5 + 1.25**0.5 + 64.25**0.5) / 4)
    assert ours["recall"] == 0.25
    assert ours["fscore"] == pytest.approx(1 / 3)
    assert ours["overall"] == pytest.approx((ours["acc"] + ours["comp"]) / 2)


def test_equal_clouds_are_perfect_and_empty_ones_hopeless():
    cloud = np.random.default_rng(0).normal(size=(50, 3))
    assert point_cloud_metrics(cloud, cloud, 0.01)["fscore"] == 1.0
    for pred, truth in ((cloud[:0], cloud), (cloud, cloud[:0])):
        result = point_cloud_metrics(pred, truth, 0.01)
        assert result["overall"] == np.inf
        assert result["fscore"] == 0.0


def test_far_apart_clouds_have_no_division_by_zero():
    cloud = np.zeros((3, 3))
    assert point_cloud_metrics(cloud, cloud + 5, 0.1)["fscore"] == 0.0


def test_voxels_hold_the_mean_of_their_points():
    # The grid starts half a voxel below the smallest corner: cells are [-0.5, 0.5), [0.5, 1.5), ...
    points = np.array([[0.0, 0, 0], [0.4, 0, 0], [1.0, 0, 0], [1.2, 0.2, 0]])
    thinned = voxel_downsample(points, 1.0)
    assert sorted(map(tuple, thinned.round(6).tolist())) == [(0.2, 0.0, 0.0), (1.1, 0.1, 0.0)]
    assert len(voxel_downsample(points[:0], 1.0)) == 0
    # Of a prediction in ruins there are too many cells to number them.
    far = voxel_downsample(points * 1e12, 1.0)
    assert sorted(map(tuple, far.tolist())) == sorted(map(tuple, (points * 1e12).tolist()))

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from geometry.metrics.pose import pose_auc, pose_errors_deg
from geometry.ops import se3


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    rotation = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    translation = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return se3.from_rotation_translation(rotation, translation)


def test_equals_the_released_evaluation(golden_dir):
    arrays = np.load(golden_dir / "bench_metrics.npz")
    ours = pose_auc(torch.from_numpy(arrays["pose_pred"]), torch.from_numpy(arrays["pose_gt"]))
    for tau, value in ours.items():
        assert value == pytest.approx(float(arrays[f"auc{tau:02d}"]), abs=1e-12)


def test_two_views_with_known_errors():
    # Both relative to the first: E_0 is the identity, so the relative pose is E_1 itself.
    def pose(angle_deg: float, direction_deg: float) -> torch.Tensor:
        rotation = Rotation.from_euler("y", angle_deg, degrees=True).as_matrix()
        t = np.deg2rad(direction_deg)
        second = np.eye(4)
        second[:3, :3], second[:3, 3] = rotation, (np.cos(t), np.sin(t), 0)
        return torch.from_numpy(np.stack((np.eye(4), second)))

    truth, pred = pose(10, 0), pose(12.5, 4.2)
    expected = (torch.tensor([angle], dtype=torch.float64) for angle in (2.5, 4.2))
    assert_close(pose_errors_deg(pred, truth), tuple(expected))
    # The larger error is 4.2: of the thresholds 1..5 it lies below the last only.
    assert pose_auc(pred, truth) == {
        3: 0.0,
        5: pytest.approx(1 / 5),
        15: pytest.approx(11 / 15),
        30: pytest.approx(26 / 30),
    }


def test_perfect_up_to_a_similarity_of_the_world():
    truth = random_poses(6)
    other = random_poses(1, seed=9)[0]
    pred = truth @ other
    pred[:, :3, 3] *= 3.7
    assert set(pose_auc(pred, truth).values()) == {1.0}


def test_opposite_translations_count_as_equal_and_none_as_90():
    truth = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    truth[1, 0, 3], truth[2, 0, 3] = 1.0, 1.0
    pred = truth.clone()
    pred[1, 0, 3] = -1.0
    first_and_second, _, second_and_third = pose_errors_deg(pred, truth)[1].tolist()
    assert first_and_second == 0.0
    assert second_and_third == 90.0  # the true cameras 1 and 2 are in one place


def test_small_errors_keep_their_digits():
    truth = random_poses(2)
    pred = truth.clone()
    tiny = torch.from_numpy(Rotation.from_rotvec([0, 0, 1e-7]).as_matrix())
    pred[1, :3, :3] = pred[1, :3, :3] @ tiny
    assert float(pose_errors_deg(pred, truth)[0]) == pytest.approx(np.rad2deg(1e-7), rel=1e-6)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="got 1 and 1"):
        pose_auc(random_poses(1), random_poses(1))

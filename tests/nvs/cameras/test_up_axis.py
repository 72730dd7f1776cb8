import math
from dataclasses import replace

import pytest
import torch
from scenes import ring
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from geometry.ops import se3
from geometry.views import Cameras
from nvs.cameras.transform import turn_cameras
from nvs.cameras.up_axis import focus_point, up_axis, y_up_turn

UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)


def looking_down_at(
    target: torch.Tensor, azimuths_deg: list[float], turn: torch.Tensor | None = None
) -> Cameras:
    cameras = ring(azimuths_deg, height=3.0, focus=target.tolist())
    if turn is None:
        return cameras
    pose = se3.from_rotation_translation(turn, torch.zeros(3).double()) @ se3.invert(cameras.extrinsics)
    return replace(cameras, extrinsics=se3.invert(pose))


def angle_deg(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(math.acos(min(1.0, float(a @ b / (a.norm() * b.norm())))))


def test_up_is_true_up_though_every_camera_looks_down():
    turn = torch.from_numpy(Rotation.random(random_state=3).as_matrix())
    up = up_axis(looking_down_at(torch.zeros(3).double(), [0, 40, 90, 200], turn))[0]
    assert angle_deg(up, turn @ UP) < 1


def test_up_of_one_view_is_its_own():
    cameras = looking_down_at(torch.zeros(3).double(), [0])
    assert angle_deg(up_axis(cameras)[0], -cameras.extrinsics[0, 0, 1, :3]) < 1e-3


def test_focus_is_where_the_axes_meet():
    target = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert_close(focus_point(looking_down_at(target, [0, 20, 50]))[0], target)


def test_focus_of_parallel_or_outward_views_goes_by_depth():
    K = torch.eye(3, dtype=torch.float64).expand(1, 3, 3, 3)
    extrinsics = torch.eye(4, dtype=torch.float64).repeat(1, 3, 1, 1)
    extrinsics[0, :, 0, 3] = torch.tensor([-1.0, 0.0, 1.0])
    row = Cameras(extrinsics=extrinsics, intrinsics=K)
    with pytest.raises(ValueError, match="do not meet"):
        focus_point(row)
    depth = torch.full((1, 3, 4, 5), 7.0, dtype=torch.float64)
    assert_close(focus_point(row, depth)[0], torch.tensor([0.0, 0.0, 7.0], dtype=torch.float64))

    outward = looking_down_at(torch.zeros(3).double(), [0, 40])
    turned = outward.extrinsics.clone()
    turned[:, :, [0, 2]] *= -1  # look away from the centre
    with pytest.raises(ValueError, match="do not meet"):
        focus_point(Cameras(extrinsics=turned, intrinsics=outward.intrinsics))


def test_a_meeting_point_far_from_everything_seen_is_overruled():
    cameras = looking_down_at(torch.zeros(3).double(), [0, 20])
    depth = torch.full((1, 2, 4, 5), 0.1, dtype=torch.float64)
    near = focus_point(cameras, depth)[0]
    assert (se3.centres(cameras.extrinsics[0]).mean(0) - near).norm() < 0.2


def test_y_up_turn_puts_up_on_y_and_the_first_view_towards_minus_z():
    turn = torch.from_numpy(Rotation.random(random_state=4).as_matrix())
    cameras = looking_down_at(torch.zeros(3).double(), [0, 40, 90, 200], turn)
    R = y_up_turn(cameras)
    assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64)[None])
    assert_close(torch.linalg.det(R), torch.ones(1, dtype=torch.float64))
    turned = turn_cameras(cameras, R)
    assert angle_deg(up_axis(turned)[0], -UP) < 1e-3
    look = turned.extrinsics[0, 0, 2, :3]
    assert abs(float(look[0])) < 1e-9
    assert look[2] < 0

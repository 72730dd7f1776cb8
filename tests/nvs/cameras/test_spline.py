import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.rotations import angle_between
from geometry.views import Cameras
from nvs.cameras.spline import spline, visiting_order


def walk(count: int = 7, seed: int = 0) -> Cameras:
    """Cameras along a bend, turning as they go."""
    t = torch.linspace(0, 1, count, dtype=torch.float64)
    rotation = Rotation.from_euler("YX", torch.stack((2.5 * t, 0.3 * (6 * t).sin()), dim=-1).numpy())
    centres = torch.stack((4 * t, (3 * t).sin(), t**2), dim=-1)
    pose = se3.from_rotation_translation(torch.from_numpy(rotation.as_matrix()), centres)
    K = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    K[:, 0, 0] = K[:, 1, 1] = 100 + 20 * t
    K[:, :2, 2] = 50
    return Cameras(extrinsics=se3.invert(pose)[None], intrinsics=K[None])


def test_every_input_is_met():
    cameras = walk()
    path = spline(cameras, frames=20001)
    for i in range(7):
        there = cameras.extrinsics[0, i]
        gap = (se3.centres(path.extrinsics[0]) - se3.centres(there)).norm(dim=-1)
        j = int(gap.argmin())
        assert gap[j] < 1e-3
        assert angle_between(path.extrinsics[0, j, :3, :3], there[:3, :3]) < 1e-3
        assert_close(path.intrinsics[0, j], cameras.intrinsics[0, i], atol=0.01, rtol=0)


def test_no_kinks():
    # The change of velocity between frames shrinks with the step, at knots as elsewhere.
    def jerk(frames: int) -> float:
        path = spline(walk(), frames=frames).extrinsics[0, :, :3]
        velocity = path.diff(dim=0) * frames
        return float(velocity.diff(dim=0).abs().max())

    assert jerk(4000) < 0.3 * jerk(1000)


def test_rotations_are_rotations_also_across_a_sign_change_of_quaternions():
    # 2.5 radians and back the long way: neighbours of the loop have quaternions of opposite sign.
    angles = torch.arange(8, dtype=torch.float64) * (2 * torch.pi / 8)
    rotation = torch.from_numpy(
        Rotation.from_rotvec(angles[:, None].numpy() * np.array([[0.0, 1.0, 0.0]])).as_matrix()
    )
    centres = torch.stack((angles.sin(), torch.zeros_like(angles), angles.cos()), dim=-1)
    extrinsics = se3.invert(se3.from_rotation_translation(rotation, centres))[None]
    cameras = Cameras(extrinsics=extrinsics, intrinsics=torch.eye(3).double().expand(1, 8, 3, 3))
    R = spline(cameras, frames=160).extrinsics[0, :, :3, :3]
    assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand_as(R))
    turn = angle_between(R[:-1], R[1:])
    assert turn.max() < 1.3 * turn.min()


def test_two_views_make_a_straight_line():
    path = spline(walk()[:, [0, 3]], frames=11)
    centres = se3.centres(path.extrinsics[0])
    assert_close(centres.diff(n=2, dim=0), torch.zeros(9, 3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_good_given_order_stands_and_a_shuffled_one_is_mended():
    cameras = walk()
    assert visiting_order(cameras)[0].tolist() == list(range(7))
    shuffled = [0, 5, 2, 6, 1, 4, 3]
    order = visiting_order(cameras[:, shuffled])[0].tolist()
    assert [shuffled[i] for i in order] == list(range(7))


def test_views_at_the_same_place_do_no_harm():
    cameras = walk()[:, [0, 0, 1, 1, 2]]
    assert spline(cameras, frames=50).extrinsics.isfinite().all()
    assert spline(cameras[:, :2], frames=5).extrinsics.isfinite().all()


def test_one_view_is_refused():
    with pytest.raises(InputError, match="got 1"):
        spline(walk()[:, :1])

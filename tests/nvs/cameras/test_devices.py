"""Every camera path also for cameras on a GPU; none is at hand, so on a pretended one."""

import pytest
import torch
from pretended_cuda import pretended_cuda
from torch.testing import assert_close

from geometry.ops.pinhole import intrinsics_matrix
from geometry.views import Cameras
from nvs.cameras import PATHS, camera_path
from nvs.cameras.orbit import look_at
from nvs.cameras.up_axis import focus_point

SIZE = (28, 42)


@pytest.fixture
def cameras() -> Cameras:
    """Six cameras on an arc around the origin."""
    angle = torch.linspace(-0.4, 0.4, 6)
    centres = torch.stack((3 * angle.sin(), 0.1 * angle, -3 * angle.cos()), dim=-1)
    poses = look_at(centres, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    focal, principal = torch.full((1, 6, 2), 40.0), torch.tensor([21.0, 14.0]).expand(1, 6, 2)
    return Cameras(extrinsics=poses.inverse()[None], intrinsics=intrinsics_matrix(focal, principal))


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_where_the_cameras_are(cameras, name):
    depth = torch.full((1, 6, *SIZE), 3.0)
    wanted = camera_path(name, cameras, SIZE, depth=depth, frames=7)
    with pretended_cuda():
        path = camera_path(name, cameras.to("cuda"), SIZE, depth=depth.to("cuda"), frames=7)
        assert path.extrinsics.device.type == path.intrinsics.device.type == "cuda"
        path = path.to("cpu")
    assert_close(path.extrinsics, wanted.extrinsics)
    assert_close(path.intrinsics, wanted.intrinsics)


def test_the_focus_point_is_found_on_the_cameras_own_device(cameras):
    with pretended_cuda():
        point = focus_point(cameras.to("cuda"))
        assert point.device.type == "cuda"
        point = point.cpu()
    assert_close(point, focus_point(cameras))

"""Ray maps on another grid are the rays of that grid, border included."""

import pytest
import torch
from torch.testing import assert_close

from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix
from geometry.ops.rays import rays_from_cameras, resize_rays
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.views import Cameras


@pytest.mark.parametrize("grid", [(16, 24), (4, 3), (28, 42), (1, 1)])
def test_resizing_equals_rays_at_that_grid(generator, grid):
    quat, centre = torch.randn(1, 2, 4, generator=generator), torch.randn(1, 2, 3, generator=generator)
    focal = torch.full((1, 2, 2), 30.0)
    cameras = Cameras(
        extrinsics=se3.from_rotation_translation(matrix_from_quat_xyzw(quat), centre).double(),
        intrinsics=intrinsics_matrix(focal, torch.tensor([20.0, 15.0]).expand_as(focal)).double(),
    )
    resized = resize_rays(rays_from_cameras(cameras, (28, 42), (16, 24)), grid)
    assert_close(resized, rays_from_cameras(cameras, (28, 42), grid))

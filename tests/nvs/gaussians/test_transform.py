import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from geometry.ops.rotations import matrix_from_quat_xyzw, xyzw_from_wxyz
from geometry.views import Cameras
from nvs.cameras.transform import turn_cameras
from nvs.cameras.up_axis import y_up_turn
from nvs.gaussians import Gaussians
from nvs.gaussians.spherical_harmonics import sh_basis
from nvs.gaussians.transform import turn_gaussians
from nvs.metrics import psnr
from nvs.rasterizer import rasterize


def test_turning_moves_covariances_and_colours_with_the_world(generator):
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    g = Gaussians(
        means=draw(1, 6, 3),
        quats=draw(1, 6, 4),
        scales=draw(1, 6, 3).abs(),
        opacities=draw(1, 6).sigmoid(),
        sh=draw(1, 6, 16, 3),
    )
    R = torch.from_numpy(Rotation.random(1, random_state=5).as_matrix())
    turned = turn_gaussians(g, R)
    assert_close(turned.means[0], g.means[0] @ R[0].T)

    def covariance(g: Gaussians) -> torch.Tensor:
        M = matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats)) * g.scales[..., None, :]
        return M @ M.mT

    assert_close(covariance(turned), R @ covariance(g) @ R.mT)

    def colours(sh: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...k,...kc->...c", sh_basis(directions, 3), sh)

    # A camera turned along sees every Gaussian in its old colour.
    eye = draw(3)
    old = torch.nn.functional.normalize(g.means - eye, dim=-1)
    new = torch.nn.functional.normalize(turned.means - R[0] @ eye, dim=-1)
    assert_close(colours(turned.sh, new), colours(g.sh, old))


def test_a_turned_world_looks_the_same_from_turned_cameras(generator):
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    g = Gaussians(
        means=3 * draw(1, 60, 3) + torch.tensor([0.0, 0.0, 12.0]),
        quats=draw(1, 60, 4),
        scales=10 * (draw(1, 60, 3) - 4).exp(),
        opacities=draw(1, 60).sigmoid(),
        sh=0.15 * draw(1, 60, 9, 3),
    )
    extrinsics = torch.eye(4).repeat(1, 2, 1, 1)
    extrinsics[0, 1, 0, 3] = 1.0
    K = torch.tensor([[40.0, 0, 20], [0, 40, 16], [0, 0, 1]])
    cameras = Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, 2, 3, 3))
    R = y_up_turn(cameras)
    before = rasterize(g, cameras, (32, 40), backend="torch").rgb[0]
    after = rasterize(turn_gaussians(g, R), turn_cameras(cameras, R), (32, 40), backend="torch").rgb[0]
    assert before.std() > 0.05
    assert psnr(after, before).min() > 60

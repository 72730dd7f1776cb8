"""Which of a pass's Gaussians are kept."""

import torch

from geometry.prediction import Geometry
from nvs.gaussians import Gaussians
from nvs.model.prune import worth_keeping
from nvs.model.splatter import Splats


def kept(depth, opacity=1.0, sky=None, *, predicted=True):
    N = depth[0].numel()
    gaussians = Gaussians(
        means=torch.zeros(1, N, 3),
        quats=torch.ones(1, N, 4),
        scales=torch.ones(1, N, 3),
        opacities=(opacity * torch.ones_like(depth)).reshape(1, -1),
        sh=torch.zeros(1, N, 1, 3),
    )
    splats = Splats(gaussians=gaussians, geometry=Geometry(depth=depth, sky=sky), predicted=predicted)
    return worth_keeping(splats).view(depth.shape)


def test_border_is_the_released_one():
    keep = kept(torch.ones(1, 2, 64, 96))
    # int(8 / 256 * 64) = 2 rows, int(8 / 256 * 96) = 3 columns at either side.
    wanted = torch.zeros(64, 96, dtype=torch.bool)
    wanted[2:62, 3:93] = True
    assert (keep == wanted).all()


def test_without_border_nothing_is_lost_at_the_edge():
    assert kept(torch.ones(1, 1, 64, 96)).all()  # a lone photo
    assert kept(torch.ones(1, 2, 64, 96), predicted=False).all()


def test_far_depth_of_each_view():
    depth = torch.arange(1.0, 101.0).reshape(1, 1, 10, 10).repeat(1, 2, 1, 1)
    depth[:, 1] *= 50
    keep = kept(depth)
    assert keep.sum((-2, -1)).tolist() == [[98, 98]]
    assert not keep[0, 0, 9, 8:].any()


def test_sky_opacity_and_depth_behind_the_camera():
    depth, opacity, sky = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2)
    depth[..., 0, 0], opacity[..., 0, 1], sky[..., 1, 0] = -1, 0.003, 1
    assert kept(depth, opacity, sky)[0, 0].tolist() == [[False, False], [False, True]]

import torch
from torch.testing import assert_close

from nvs.gaussians.selection import keep_mask


def test_border_is_the_released_one():
    keep = keep_mask(torch.ones(1, 2, 64, 96))
    # int(8 / 256 * 64) = 2 rows, int(8 / 256 * 96) = 3 columns at either side.
    wanted = torch.zeros(64, 96, dtype=torch.bool)
    wanted[2:62, 3:93] = True
    assert (keep == wanted).all()


def test_without_border_nothing_is_lost_at_the_edge():
    assert keep_mask(torch.ones(1, 1, 8, 8), border=0.0).all()


def test_far_depth_of_each_view():
    depth = torch.arange(1.0, 101.0).reshape(1, 1, 10, 10).repeat(1, 2, 1, 1)
    depth[:, 1] *= 50
    keep = keep_mask(depth, border=0.0, depth_quantile=0.9)
    assert keep.sum((-2, -1)).tolist() == [[90, 90]]
    assert not keep[0, 0, 9].any()


def test_sky_opacity_and_depth_behind_the_camera():
    depth, opacity, sky = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2)
    depth[..., 0, 0], opacity[..., 0, 1], sky[..., 1, 0] = -1, 0.01, 1
    keep = keep_mask(depth, opacity, sky.bool(), border=0.0, min_opacity=0.02)
    assert keep[0, 0].tolist() == [[False, False], [False, True]]


def test_selects_in_the_order_of_heads(generator):
    means = torch.randn(1, 2 * 3 * 4, 3, generator=generator)
    keep = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    keep[0, 1, 2, 3] = True
    assert_close(means[:, keep.flatten(1)[0]], means[:, -1:])

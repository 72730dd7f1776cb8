"""Where Gaussians come from: the network's depth or one from elsewhere, on any grid."""

import pytest
import torch

from geometry.views import Cameras, Views
from geometry.weights.checkpoint import untrained
from nvs.model.backbone import encode_views
from nvs.model.depth import NetworkDepth
from nvs.model.pooling import pool, resize_cameras, sample, spaced_grid
from nvs.model.splatter import Splatter, load_splatter, new_gaussian_head, photo_colours
from nvs.stereo import SweptDepth


@pytest.fixture(scope="module")
def splatter():
    """With a head that has learned nothing: every Gaussian is its pixel."""
    plain = load_splatter(untrained("tiny"))
    return Splatter(plain.network, new_gaussian_head("tiny", plain.adapter), plain.adapter).eval()


@pytest.fixture(scope="module")
def views():
    generator = torch.Generator().manual_seed(0)
    extrinsics = torch.eye(4).repeat(1, 3, 1, 1)
    extrinsics[0, :, 0, 3] = torch.tensor([0.0, 0.6, 1.2])
    K = torch.tensor([[40.0, 0, 20], [0, 42, 15], [0, 0, 1]]).expand(1, 3, 3, 3).contiguous()
    return Views(
        images=torch.rand(1, 3, 3, 28, 42, generator=generator),
        cameras=Cameras(extrinsics=extrinsics, intrinsics=K),
    )


def swept(grid=(14, 21)):
    depth = 2 + torch.rand(1, 3, *grid, generator=torch.Generator().manual_seed(1))
    return SweptDepth(depth=depth, score=depth, trusted=depth > 2.5, floating=depth > 4)


class Given:
    """Depth in the given cameras' world, and a factor on opacities."""

    from_network = False

    def __init__(self, depth, weight=None):
        self.depth, self.weight = depth, weight

    def __call__(self, views, encoding):
        return self.depth, self.weight


class Thin(NetworkDepth):
    def __call__(self, views, encoding):
        depth, _ = super().__call__(views, encoding)
        return depth, torch.full_like(depth, 0.25)


@torch.no_grad()
def test_own_depth_handed_in_changes_nothing(splatter, views):
    """The network's depth in the given world, given back as if it had been measured."""
    encoding = encode_views(splatter.network, views)
    plain = splatter.splat(encoding, views)
    again = splatter.splat(encoding, views, depth=Given(plain.geometry.depth))
    assert (plain.predicted, again.predicted) == (True, False)
    torch.testing.assert_close(again.gaussians.means, plain.gaussians.means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.gaussians.scales, plain.gaussians.scales, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(again.geometry.depth, plain.geometry.depth, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_doubtful_depth_makes_thin_gaussians(splatter, views):
    plain, thin = splatter(views), splatter(views, depth=Thin())
    torch.testing.assert_close(thin.gaussians.opacities, 0.25 * plain.gaussians.opacities)
    source = swept()
    depth, weight = source(views, None)
    assert weight[source.trusted].min() > 2 * weight[~source.trusted].max()
    assert source.trusted_share == float((depth > 2.5).float().mean())


@torch.no_grad()
def test_a_coarse_grid_covers_the_same_view(splatter, views):
    fine, coarse = splatter(views), splatter(views, spacing=2.0)
    assert coarse.gaussians.means.shape == (1, 3 * 14 * 21, 3)
    assert coarse.geometry.depth.shape == (1, 3, 14, 21)
    torch.testing.assert_close(coarse.geometry.cameras.intrinsics, views.cameras.intrinsics)
    ratio = coarse.gaussians.scales.mean() / fine.gaussians.scales.mean()
    assert 1.7 < ratio < 2.3  # half as many each way, twice as wide


@torch.no_grad()
def test_an_untrained_head_is_as_good_as_none(splatter, views):
    """Gaussians of a fresh head, of a network without head and of no network at all are the same."""
    with_head = splatter(views, depth=swept(), spacing=2.0).gaussians
    headless = load_splatter(untrained("tiny"))(views, depth=swept(), spacing=2.0).gaussians
    no_network = photo_colours()(views, depth=swept(), spacing=2.0).gaussians
    for name in ("means", "scales", "sh", "opacities"):
        mine, theirs = getattr(with_head, name), getattr(no_network, name)
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=1e-4)
        torch.testing.assert_close(getattr(headless, name), theirs)


@torch.no_grad()
def test_measured_depth_spares_the_networks_depth_head(splatter, views, monkeypatch):
    whole = encode_views(splatter.network, views)
    wanted = splatter.splat(whole, views, depth=swept(), spacing=2.0)

    def not_wanted(*inputs, **options):
        raise AssertionError("the depth head ran")

    monkeypatch.setattr(splatter.network.depth_head, "forward", not_wanted)
    got = splatter(views, depth=swept(), spacing=2.0)
    torch.testing.assert_close(got.gaussians.means, wanted.gaussians.means)
    torch.testing.assert_close(got.gaussians.opacities, wanted.gaussians.opacities)
    with pytest.raises(ValueError, match="expected an encoding with geometry"):
        splatter.splat(encode_views(splatter.network, views, geometry=False), views)


def test_grid():
    assert spaced_grid((28, 42), 4) == (7, 10)
    assert spaced_grid((3, 3), 100) == (1, 1)
    values = torch.arange(16.0).view(1, 1, 4, 4)
    assert sample(values, (2, 2)).flatten().tolist() == [5, 7, 13, 15]
    assert pool(values[..., None], (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    cameras = Cameras(extrinsics=torch.eye(4).view(1, 1, 4, 4), intrinsics=torch.eye(3).view(1, 1, 3, 3))
    assert resize_cameras(cameras, (4, 8), (2, 2)).intrinsics[0, 0].diagonal().tolist() == [0.25, 0.5, 1]

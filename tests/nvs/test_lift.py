"""Where Gaussians come from: the network's depth or a swept one, on any grid."""

import pytest
import torch

from geometry.errors import InputError
from geometry.views import Cameras, Views
from geometry.weights.checkpoints import untrained
from nvs.lift import choose_depth, lift_colours, lift_sweep
from nvs.model.backbone import encode_views
from nvs.model.pooling import pool, resize_cameras, sample, spaced_grid
from nvs.model.splatter import load_splatter
from nvs.stereo import StereoDepth


@pytest.fixture(scope="module")
def splatter():
    return load_splatter(untrained("tiny"))[0]


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


@torch.no_grad()
def test_own_depth_handed_in_changes_nothing(splatter, views):
    """The network's depth in the given world, given back as if it had been swept."""
    encoding = encode_views(splatter.network, views)
    plain = splatter.splat(encoding, views)
    again = splatter.splat(encoding, views, depth=plain.geometry.depth)
    torch.testing.assert_close(again.gaussians.means, plain.gaussians.means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again.gaussians.scales, plain.gaussians.scales, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(again.geometry.depth, plain.geometry.depth, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_weight_thins(splatter, views):
    encoding = encode_views(splatter.network, views)
    plain = splatter.splat(encoding, views)
    thin = splatter.splat(encoding, views, weight=torch.full((1, 3, 28, 42), 0.25))
    torch.testing.assert_close(thin.gaussians.opacities, 0.25 * plain.gaussians.opacities)


@torch.no_grad()
def test_a_coarse_grid_covers_the_same_view(splatter, views):
    grid = (14, 21)
    encoding = encode_views(splatter.network, views)
    splats = splatter.splat(encoding, views, grid=grid)
    assert splats.gaussians.means.shape == (1, 3 * 14 * 21, 3)
    assert splats.geometry.depth.shape == (1, 3, *grid)
    torch.testing.assert_close(splats.geometry.cameras.intrinsics, views.cameras.intrinsics)
    fine = splatter.splat(encoding, views)
    ratio = splats.gaussians.scales.mean() / fine.gaussians.scales.mean()
    assert 1.7 < ratio < 2.3  # half as many each way, twice as wide


@torch.no_grad()
def test_a_head_that_has_learnt_nothing_is_not_asked(splatter, views):
    """With a fresh head, Gaussians with and without the network are the same."""
    generator = torch.Generator().manual_seed(1)
    depth = 2 + torch.rand(1, 3, 14, 21, generator=generator)
    trusted = depth > 2.5
    stereo = StereoDepth(depth=depth, score=depth, trusted=trusted, floating=~trusted)
    options = {"reference": "saddle_balanced", "chunk": 8}
    asked = lift_sweep(splatter, views, stereo, (14, 21), has_head=True, **options)
    colours = lift_colours(splatter.adapter, views, stereo, (14, 21))
    for name in ("means", "scales", "sh"):
        mine, theirs = getattr(asked.gaussians, name), getattr(colours.gaussians, name)
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(asked.gaussians.opacities, colours.gaussians.opacities, rtol=0.01, atol=1e-3)
    opacities = colours.gaussians.opacities.view_as(depth)
    assert opacities[trusted].min() > 2 * opacities[~trusted].max()


def test_auto_sweeps_where_it_can_and_should(views):
    unposed = Views(images=views.images)
    assert choose_depth("auto", views=views, good_network=False) == "sweep"
    assert choose_depth("auto", views=views, good_network=True) == "network"
    assert choose_depth("auto", views=unposed, good_network=False) == "network"
    assert choose_depth("network", views=views, good_network=False) == "network"
    assert choose_depth("sweep", views=views, good_network=True) == "sweep"
    with pytest.raises(InputError, match="poses"):
        choose_depth("sweep", views=unposed, good_network=True)


def test_grid():
    assert spaced_grid((28, 42), 4) == (7, 10)
    assert spaced_grid((3, 3), 100) == (1, 1)
    values = torch.arange(16.0).view(1, 1, 4, 4)
    assert sample(values, (2, 2)).flatten().tolist() == [5, 7, 13, 15]
    assert pool(values[..., None], (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    cameras = Cameras(extrinsics=torch.eye(4).view(1, 1, 4, 4), intrinsics=torch.eye(3).view(1, 1, 3, 3))
    assert resize_cameras(cameras, (4, 8), (2, 2)).intrinsics[0, 0].diagonal().tolist() == [0.25, 0.5, 1]


@torch.no_grad()
def test_with_swept_depth_the_network_is_not_asked_for_its_own(splatter, views, monkeypatch):
    grid = (14, 21)
    depth = 2 + torch.rand(1, 3, *grid, generator=torch.Generator().manual_seed(1))
    stereo = StereoDepth(depth=depth, score=depth, trusted=depth > 2.5, floating=depth > 4)
    options = {"reference": "saddle_balanced", "chunk": 8}
    weight = torch.where(depth > 2.5, 0.8, 0.25)
    whole = encode_views(splatter.network, views)
    wanted = splatter.splat(whole, views, grid=grid, depth=depth, weight=weight)

    def not_wanted(*inputs, **options):
        raise AssertionError("the depth head ran")

    monkeypatch.setattr(splatter.network.depth_head, "forward", not_wanted)
    got = lift_sweep(splatter, views, stereo, grid, has_head=True, **options)
    torch.testing.assert_close(got.gaussians.means, wanted.gaussians.means)
    torch.testing.assert_close(got.gaussians.opacities, wanted.gaussians.opacities)
    with pytest.raises(ValueError, match="expected depth"):
        splatter.splat(encode_views(splatter.network, views, geometry=False), views)

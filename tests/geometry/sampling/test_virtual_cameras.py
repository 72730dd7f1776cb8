"""Turned cameras: against a scene that can be written down, against themselves turned back, in the mirror."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.ops.pinhole import unproject
from geometry.sampling.virtual_cameras import VirtualCameras, mirrored, turn_cameras
from geometry.views import Cameras, Example, Truth, Views

SIZE = (60, 80)


def wall(extrinsics, K, size):
    """What cameras see of the wall z = 3 with a smooth pattern painted on."""
    cameras = Cameras(extrinsics=extrinsics, intrinsics=K)
    origin = unproject(torch.zeros(1, extrinsics.shape[1], *size), cameras)
    ray = unproject(torch.ones(1, extrinsics.shape[1], *size), cameras) - origin  # z-depth 1
    depth = (3 - origin[..., 2]) / ray[..., 2]
    x, y, _ = (origin + depth[..., None] * ray).unbind(-1)
    images = torch.stack((x.sin(), y.cos(), (x + y).sin()), dim=2) * 0.4 + 0.5
    depth = torch.where(depth > 0, depth, 0.0)
    return Example(
        views=Views(images=images, cameras=cameras),
        truth=Truth(cameras=cameras, depth=depth, valid=depth > 0, metric=torch.tensor([True])),
    )


@pytest.fixture
def example():
    E = torch.eye(4).repeat(1, 2, 1, 1)
    E[0, 1, :3, 3] = torch.tensor([0.4, -0.2, 0.1])
    K = torch.tensor([[70.0, 0, 38], [0, 72.0, 31], [0, 0, 1]]).expand(1, 2, 3, 3)
    return wall(E, K, SIZE)


@pytest.fixture
def turn():
    generator = torch.Generator().manual_seed(1)
    w = 0.12 * torch.randn(1, 2, 3, generator=generator)
    zero = torch.zeros(1, 2)
    x, y, z = w.unbind(-1)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).view(1, 2, 3, 3)
    return torch.linalg.matrix_exp(skew)


@pytest.mark.parametrize(("size", "zoom"), [(SIZE, 1.0), ((45, 50), 1.2), ((50, 30), 1.0)])
def test_the_wall_looks_as_the_new_cameras_would_see_it(example, turn, size, zoom):
    got = turn_cameras(example, turn, size, zoom)
    wanted = wall(got.truth.cameras.extrinsics, got.truth.cameras.intrinsics, size)
    seen = got.truth.valid
    assert 0.5 < seen.float().mean() < 1
    colour = seen[:, :, None].expand_as(got.views.images)
    error = (got.views.images - wanted.views.images)[colour].abs()
    assert error.mean() < 1e-3
    assert error.max() < 0.015  # at the border, where there is nothing to interpolate with
    stretched, stretched_before = (
        x.truth.cameras.intrinsics[..., 0, 0] / x.truth.cameras.intrinsics[..., 1, 1] for x in (got, example)
    )
    assert_close(stretched, stretched_before)
    # Depth is the nearest old pixel's: off by what it changes within half a pixel.
    assert_close(got.truth.depth[seen], wanted.truth.depth[seen], atol=0, rtol=0.02)
    assert got.truth.depth[~seen].abs().max() == 0


def test_not_turning_changes_nothing_but_the_principal_point(example):
    K = example.truth.cameras.intrinsics.clone()
    K[..., 0, 2], K[..., 1, 2] = 40, 30
    central = wall(example.truth.cameras.extrinsics, K, SIZE)
    got = turn_cameras(central, torch.eye(3).expand(1, 2, 3, 3), SIZE)
    assert_close(got.views.images, central.views.images, atol=1e-5, rtol=0)
    assert_close(got.truth.depth, central.truth.depth)
    assert_close(got.truth.cameras.intrinsics, K)


def test_centres_stay(example, turn):
    got = turn_cameras(example, turn, SIZE)

    def centres(cameras):
        return cameras.extrinsics.inverse()[..., :3, 3]

    assert_close(centres(got.truth.cameras), centres(example.truth.cameras), atol=1e-6, rtol=0)


def test_the_mirror_shows_the_mirrored_world(example):
    skew = torch.zeros(3, 3).index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(0.5))
    cameras = replace(example.truth.cameras, intrinsics=example.truth.cameras.intrinsics + skew)
    example = replace(example, truth=replace(example.truth, cameras=cameras))
    got = mirrored(example)
    old = unproject(example.truth.depth, example.truth.cameras)
    new = unproject(got.truth.depth, got.truth.cameras)
    assert_close(new, old.flip(-2) * torch.tensor([-1.0, 1, 1]), atol=1e-5, rtol=0)
    assert torch.linalg.det(got.truth.cameras.extrinsics[..., :3, :3]).min() > 0
    back = mirrored(got)
    assert_close(back.truth.cameras.extrinsics, example.truth.cameras.extrinsics)
    assert_close(back.views.images, example.views.images)


def test_masks_follow(example, turn):
    sky = example.views.images[:, :, 0] > 0.5
    both = replace(example, truth=replace(example.truth, sky=sky, objects=~sky))
    got = turn_cameras(both, turn, SIZE)
    seen = got.truth.valid
    assert ((got.truth.sky ^ got.truth.objects) == seen).all()
    agree = (got.truth.sky == (got.views.images[:, :, 0] > 0.5))[seen].float().mean()
    assert agree > 0.98
    assert (mirrored(both).truth.sky == sky.flip(-1)).all()


def test_draws_come_from_the_generator_alone(example):
    ranges = VirtualCameras(tilt_deg=5.0, roll_deg=8.0, zoom=(1.0, 1.3), flip=0.5)
    first, again = (ranges.draw(example, (30, 40), np.random.default_rng(3)) for _ in range(2))
    other = ranges.draw(example, (30, 40), np.random.default_rng(4))
    assert torch.equal(first.views.images, again.views.images)
    assert not torch.equal(first.views.images, other.views.images)
    assert first.views.images.shape[-2:] == (30, 40)


def test_turns_are_as_large_as_asked(example):
    ranges = VirtualCameras(tilt_deg=0.0, roll_deg=10.0)
    old = example.truth.cameras.extrinsics[..., :3, :3]
    rolls = []
    for seed in range(60):
        new = ranges.draw(example, SIZE, np.random.default_rng(seed)).truth.cameras.extrinsics[..., :3, :3]
        turn = new @ old.mT
        assert_close(turn[..., 2, 2], torch.ones(1, 2))  # about the optical axis
        rolls.append(torch.atan2(turn[..., 1, 0], turn[..., 0, 0]).rad2deg())
    rolls = torch.cat(rolls)
    assert rolls.abs().max() <= 20.01
    assert 7 < rolls.std() < 11


def test_a_zoom_that_is_no_range_is_refused():
    with pytest.raises(InputError, match=r"zoom as \[low, high\]"):
        VirtualCameras(zoom=(1.3, 1.0))

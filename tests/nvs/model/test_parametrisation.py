"""Raw channels to Gaussians: frames, scales and the meaning of zeros."""

import pytest
import torch
from scenes import random_cameras
from torch.testing import assert_close

from geometry.ops.align import Similarity
from geometry.ops.pinhole import unproject
from geometry.ops.rotations import matrix_from_quat_xyzw, xyzw_from_wxyz
from geometry.prediction import Geometry
from geometry.views import Cameras
from nvs.gaussians import sh_to_rgb
from nvs.gaussians.transform import transform_gaussians
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter

H, W = 5, 7


@pytest.fixture
def geometry(generator):
    depth = 1 + torch.rand(1, 3, H, W, generator=generator, dtype=torch.float64)
    cameras = random_cameras(generator, 1, 3, focal=(8.0, 9.0), principal=(3.1, 2.2))  # off-centre
    return Geometry(depth=depth, cameras=cameras)


def inputs(adapter, generator, scale=0.0):
    raw = scale * torch.randn(1, 3, H, W, adapter.raw_channels, generator=generator, dtype=torch.float64)
    density = torch.rand(1, 3, H, W, generator=generator, dtype=torch.float64)
    images = torch.rand(1, 3, 3, H, W, generator=generator, dtype=torch.float64)
    return raw, density, images


@pytest.mark.parametrize("flavour", ["rgb", "sh"])
def test_raw_zeros_are_the_unprojected_photo(flavour, geometry, generator):
    adapter = GaussianAdapter(flavour)
    raw, density, images = inputs(adapter, generator)
    g = adapter(raw, density, geometry, images)
    assert_close(g.means, unproject(geometry.depth, geometry.cameras).flatten(1, 3))
    assert_close(sh_to_rgb(g.sh[:, :, 0]), images.movedim(2, -1).flatten(1, 3))
    assert g.sh[:, :, 1:].abs().sum() == 0
    assert_close(g.opacities, density.flatten(1, 3))
    # Round, and of sqrt(0.01 * 30) pixels at the pixel's depth.
    expected = (0.01 * 30) ** 0.5 * geometry.depth.flatten(1)[..., None] / 8.5
    assert_close(g.scales, expected.expand_as(g.scales))


def test_offsets_move_along_the_image_and_the_ray(geometry, generator):
    adapter = GaussianAdapter("sh")
    raw, density, images = inputs(adapter, generator)
    raw[..., -3] = 2.0  # two pixels to the right
    raw[..., -1] = 0.5
    g = adapter(raw, density, geometry, images)
    shifted = geometry.cameras.intrinsics.clone()
    shifted[..., 0, 2] -= 2.0
    moved = Cameras(extrinsics=geometry.cameras.extrinsics, intrinsics=shifted)
    depth = geometry.depth * torch.tensor(0.5).double().exp()
    assert_close(g.means, unproject(depth, moved).flatten(1, 3))


def test_orientation_is_local_and_the_world_turns_it(geometry, generator):
    adapter = GaussianAdapter("sh")
    raw, density, images = inputs(adapter, generator, scale=0.3)
    still = Geometry(
        depth=geometry.depth,
        cameras=Cameras(
            extrinsics=torch.eye(4).double().expand(1, 3, 4, 4), intrinsics=geometry.cameras.intrinsics
        ),
    )
    local, world = adapter(raw, density, still, images), adapter(raw, density, geometry, images)
    turn = geometry.cameras.extrinsics[..., :3, :3].mT.repeat_interleave(H * W, dim=1)  # cam_to_world
    R_local, R_world = (matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats)) for g in (local, world))
    assert_close(R_world, turn @ R_local)
    assert_close(world.scales, local.scales)


def test_given_cameras_lift_and_set_the_scale(geometry, generator):
    adapter = GaussianAdapter("rgb")
    raw, density, images = inputs(adapter, generator)
    turn = matrix_from_quat_xyzw(torch.randn(1, 4, generator=generator, dtype=torch.float64))
    world = Similarity(
        scale=torch.tensor([1.7]).double(), rotation=turn, translation=torch.ones(1, 3).double()
    )
    given = Cameras(
        extrinsics=world.extrinsics(geometry.cameras.extrinsics), intrinsics=geometry.cameras.intrinsics
    )
    g = adapter(raw, density, geometry, images, given=given)
    assert_close(g.means, unproject(1.7 * geometry.depth, given).flatten(1, 3))


@pytest.mark.parametrize("adapter", [GaussianAdapter("sh"), ReleasedAdapter(lift_with_given=True)])
def test_a_similarity_of_the_world_carries_the_gaussians(adapter, geometry, generator):
    raw, density, images = inputs(adapter, generator, scale=0.3)
    turn = matrix_from_quat_xyzw(torch.randn(1, 4, generator=generator, dtype=torch.float64))
    world = Similarity(
        scale=torch.tensor([1.3]).double(), rotation=turn, translation=torch.randn(1, 3).double()
    )
    given = Cameras(
        extrinsics=world.extrinsics(geometry.cameras.extrinsics), intrinsics=geometry.cameras.intrinsics
    )
    before = adapter(raw, density, geometry, images, given=geometry.cameras)
    after = adapter(raw, density, geometry, images, given=given)
    carried = transform_gaussians(before, world)
    assert_close(after.means, carried.means)
    assert_close(after.scales, carried.scales)
    assert_close(after.sh, carried.sh)
    if not adapter.released:  # the released quaternions are no rotations of the world's
        turned = [matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats)) for g in (after, carried)]
        assert_close(*turned)


def test_gradients_reach_every_raw_channel(geometry, generator):
    adapter = GaussianAdapter("sh")
    raw, density, images = inputs(adapter, generator, scale=0.2)
    raw, density = raw.requires_grad_(), density.requires_grad_()
    g = adapter(raw, density, geometry, images)
    weights = [torch.randn(t.shape, generator=generator).double() for t in (g.means, g.quats, g.scales, g.sh)]
    loss = sum((w * t).sum() for w, t in zip(weights, (g.means, g.quats, g.scales, g.sh)))
    (loss + g.opacities.sum()).backward()
    assert (raw.grad.abs().flatten(0, 3).sum(0) > 0).all()
    assert (density.grad == 1).all()

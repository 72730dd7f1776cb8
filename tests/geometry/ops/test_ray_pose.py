"""Cameras from rays: exact where rays are, better than the released solver where they are not."""

import numpy as np
import pytest
import torch
from scenes import random_cameras
from torch.testing import assert_close

from geometry.ops import se3
from geometry.ops.ray_pose import cameras_from_rays
from geometry.ops.rays import rays_from_cameras
from geometry.ops.rotations import angle_between
from tests.golden.released_ray_pose import released_cameras_from_rays

SIZE = (36, 48)


def cameras_of(generator, views, off_centre=0.0, dtype=torch.float32):
    half = torch.tensor([SIZE[1] / 2, SIZE[0] / 2], dtype=dtype)
    focal = half * (1.2 + torch.rand(1, views, 2, generator=generator, dtype=dtype))
    principal = half * (1 + off_centre * torch.randn(1, views, 2, generator=generator, dtype=dtype))
    return random_cameras(generator, 1, views, focal=focal, principal=principal, dtype=dtype)


def spoiled(rays, noise, share, generator):
    """Rays with Gaussian noise, and a share of them anywhere."""
    rays = rays + noise * torch.randn(rays.shape, generator=generator)
    bad = torch.rand(rays.shape[:-1], generator=generator) < share
    return torch.where(bad[..., None], rays + torch.randn(rays.shape, generator=generator), rays)


def golden_case(golden_dir, case):
    golden = np.load(golden_dir / "raypose.npz")
    prefix = f"{case}/"
    return {k[len(prefix) :]: torch.from_numpy(golden[k]) for k in golden.files if k.startswith(prefix)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("off_centre", [0.0, 0.15])
def test_clean_rays_give_their_cameras_back(generator, off_centre, dtype):
    cameras = cameras_of(generator, 6, off_centre, dtype)
    rays = rays_from_cameras(cameras, SIZE, (18, 24))
    found = cameras_from_rays(rays, None, SIZE)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    assert_close(found.cameras.extrinsics, cameras.extrinsics, atol=tolerance, rtol=0)
    assert_close(found.cameras.intrinsics, cameras.intrinsics, atol=tolerance * 50, rtol=0)  # pixels
    half = torch.tensor([24.0, 18.0], dtype=dtype)
    assert_close(found.focal_ndc * half, cameras.intrinsics[..., [0, 1], [0, 1]], atol=tolerance * 50, rtol=0)


def test_ray_length_does_not_matter_and_wrong_rays_are_outvoted(generator):
    cameras = cameras_of(generator, 4, 0.1)
    rays = rays_from_cameras(cameras, SIZE, (18, 24))
    length = 0.5 + torch.rand(rays.shape[:-1], generator=generator)[..., None]
    rays = torch.cat((rays[..., :3] * length, rays[..., 3:]), dim=-1)
    bad = torch.rand(rays.shape[:-1], generator=generator) < 0.4
    rays = torch.where(bad[..., None], torch.randn(rays.shape, generator=generator), rays)
    rays[0, 0, 0, 0] = torch.nan
    found = cameras_from_rays(rays, torch.ones_like(rays[..., 0]), SIZE)
    assert_close(found.cameras.extrinsics, cameras.extrinsics, atol=1e-5, rtol=0)
    assert_close(found.cameras.intrinsics, cameras.intrinsics, atol=1e-3, rtol=0)


@pytest.mark.parametrize("case", ["clean", "noisy", "offcentre"])
def test_released_solver_agrees_with_its_golden_numbers(golden_dir, case):
    data = golden_case(golden_dir, case)
    found = released_cameras_from_rays(data["ray"], data["conf"], (24, 32), indices=data["ransac_idx"])
    assert_close(found.cameras.extrinsics, data["w2c"], atol=1e-4, rtol=0)
    assert_close(found.focal_ndc, data["focal_ndc"], atol=1e-4, rtol=0)
    assert_close(found.principal_ndc + 1, data["pp_plus1"], atol=1e-4, rtol=0)


def test_released_solver_draws_what_the_released_one_draws(golden_dir):
    data = golden_case(golden_dir, "noisy")  # its index table was drawn with seed 0
    found = released_cameras_from_rays(data["ray"], data["conf"], (24, 32), seed=0)
    assert_close(found.cameras.extrinsics, data["w2c"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("case", "atol"), [("clean", 1e-6), ("offcentre", 1e-6), ("noisy", 8e-3)])
def test_truth_of_the_golden_rays_is_recovered(golden_dir, case, atol):
    data = golden_case(golden_dir, case)
    found = cameras_from_rays(data["ray"], data["conf"], (24, 32))
    cam_to_world = se3.invert(found.cameras.extrinsics)[0].double()
    assert_close(cam_to_world, data["true_c2w"], atol=atol, rtol=0)
    assert_close(found.focal_ndc[0].double(), data["true_focal_ndc"], atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("noise", "share", "off_centre"), [(0.01, 0.1, 0.0), (0.05, 0.3, 0.0), (0.02, 0.1, 0.1)]
)
def test_noisy_rays_beat_the_released_solver_on_average(generator, noise, share, off_centre):
    cameras = cameras_of(generator, 12, off_centre)
    rays = spoiled(rays_from_cameras(cameras, SIZE, (18, 24)), noise, share, generator)
    errors = {}
    for released, solver in ((False, cameras_from_rays), (True, released_cameras_from_rays)):
        found = solver(rays, None, SIZE).cameras
        turn = angle_between(found.extrinsics[..., :3, :3], cameras.extrinsics[..., :3, :3])
        move = (se3.centres(found.extrinsics) - se3.centres(cameras.extrinsics)).norm(dim=-1)
        focal = (found.intrinsics / cameras.intrinsics)[..., [0, 1], [0, 1]].log().abs()
        errors[released] = torch.stack((turn.mean(), move.mean(), focal.mean()))
    assert (errors[False] < errors[True]).all()
    assert errors[False][0] < noise  # radians; what a single ray errs by


def test_same_seed_same_cameras_without_gradient_or_global_randomness(generator):
    cameras = cameras_of(generator, 2)
    rays = spoiled(rays_from_cameras(cameras, SIZE, (18, 24)), 0.02, 0.2, generator).requires_grad_()
    state = torch.random.get_rng_state()
    first, again = (cameras_from_rays(rays, None, SIZE, seed=7) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.cameras.extrinsics, again.cameras.extrinsics)
    assert not first.cameras.extrinsics.requires_grad


def test_confidence_decides_between_two_cameras(generator):
    cameras = cameras_of(generator, 2)
    rays = rays_from_cameras(cameras, SIZE, (18, 24))
    half = torch.rand(18, 24, generator=generator) < 0.4
    mixed = torch.where(half[..., None], rays[:, :1], rays[:, 1:])
    conf = torch.where(half, 10.0, 1.0)[None, None]
    found = cameras_from_rays(mixed, conf, SIZE)
    assert_close(found.cameras.extrinsics, cameras.extrinsics[:, :1], atol=1e-5, rtol=0)


def test_many_rays_are_thinned_and_garbage_stays_finite(generator):
    cameras = cameras_of(generator, 1)
    rays = rays_from_cameras(cameras, SIZE, (144, 192))
    assert_close(
        cameras_from_rays(rays, None, SIZE).cameras.extrinsics, cameras.extrinsics, atol=1e-5, rtol=0
    )
    garbage = torch.randn(1, 3, 12, 12, 6, generator=generator)
    found = cameras_from_rays(garbage, None, SIZE)
    assert found.cameras.extrinsics.isfinite().all()
    assert found.cameras.intrinsics.isfinite().all()


def test_too_few_rays_are_an_error():
    conf = torch.ones(1, 2, 6, 6)
    conf[0, 1] = 0
    with pytest.raises(ValueError, match="ray map 1"):
        cameras_from_rays(torch.ones(1, 2, 6, 6, 6), conf, SIZE)

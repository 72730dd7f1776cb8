"""Small scenes and cameras that every rasterizer test shares."""

import math
from collections.abc import Callable

import pytest
import torch

from geometry.ops.pinhole import intrinsics_matrix
from geometry.views import Cameras
from nvs.gaussians import Gaussians


def make_gaussians(
    count: int, generator: torch.Generator, *, batch: int = 1, degree: int = 0, size: float = 0.08
) -> Gaussians:
    """Gaussians in a slab in front of a camera at the origin; quaternions are not unit length."""

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(batch, count, *shape, generator=generator)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(batch, count, *shape, generator=generator)

    spread = torch.tensor([2.0, 1.6, 2.0])
    return Gaussians(
        means=(uniform(3) - 0.5) * spread + torch.tensor([0.0, 0.0, 2.5]),
        quats=normal(4),
        scales=size * torch.exp(0.5 * normal(3)),
        opacities=uniform() * 0.98 + 0.01,
        sh=normal((degree + 1) ** 2, 3) * 0.4,
    )


def make_cameras(views: int, image_size: tuple[int, int], *, batch: int = 1) -> Cameras:
    """Cameras turned about y around the slab's centre; principal points are off centre."""
    H, W = image_size
    extrinsics = torch.eye(4).repeat(batch, views, 1, 1)
    for v in range(views):
        angle = 0.25 * (v - (views - 1) / 2) + 0.05
        c, s = math.cos(angle), math.sin(angle)
        rotation = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        centre = torch.tensor([0.0, 0.0, 2.5])
        extrinsics[:, v, :3, :3] = rotation
        extrinsics[:, v, :3, 3] = centre - rotation @ centre + torch.tensor([0.05, -0.03, 0.1])
    focal = torch.tensor([1.1 * W, 1.15 * W]).expand(batch, views, 2)
    principal = torch.tensor([0.53 * W, 0.46 * H]).expand(batch, views, 2)
    return Cameras(extrinsics=extrinsics, intrinsics=intrinsics_matrix(focal, principal))


@pytest.fixture
def scene(generator: torch.Generator) -> Callable[..., Gaussians]:
    return lambda count, **options: make_gaussians(count, generator, **options)


@pytest.fixture
def cameras() -> Callable[..., Cameras]:
    return make_cameras

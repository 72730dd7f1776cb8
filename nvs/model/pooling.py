"""Fewer Gaussians than pixels: everything that a view's Gaussians are made from, on a coarser grid."""

from dataclasses import replace

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.ops.pinhole import resize_intrinsics
from geometry.prediction import Geometry
from geometry.views import Cameras


def spaced_grid(image_size: tuple[int, int], spacing: float) -> tuple[int, int]:
    """(h, w) cells of about ``spacing`` pixels that tile the image, at least one each way."""
    H, W = image_size
    return max(1, round(H / spacing)), max(1, round(W / spacing))


def pool(values: Float[Tensor, "B V H W C"], grid: tuple[int, int]) -> Float[Tensor, "B V h w C"]:
    """Mean over every cell."""
    if values.shape[2:4] == tuple(grid):
        return values
    flat = F.adaptive_avg_pool2d(values.flatten(0, 1).movedim(-1, 1), grid)
    return flat.movedim(1, -1).unflatten(0, values.shape[:2])


def sample(values: Float[Tensor, "B V H W"], grid: tuple[int, int]) -> Float[Tensor, "B V h w"]:
    """The value at every cell's centre: means of depth would lie between surfaces, where nothing is."""
    if values.shape[-2:] == tuple(grid):
        return values
    return F.interpolate(values.float(), size=grid, mode="nearest-exact").to(values.dtype)


def whole_cells(mask: Bool[Tensor, "B V H W"], grid: tuple[int, int]) -> Bool[Tensor, "B V h w"]:
    """Cells of which every pixel is True."""
    return pool(mask[..., None].float(), grid)[..., 0] > 0.999


def resize_cameras(cameras: Cameras, old: tuple[int, int], new: tuple[int, int]) -> Cameras:
    """The same cameras for images of another size."""
    return replace(cameras, intrinsics=resize_intrinsics(cameras.intrinsics, old, new))


def on_grid(geometry: Geometry, image_size: tuple[int, int], grid: tuple[int, int]) -> Geometry:
    """Depth, sky and cameras on a grid; all else is left out where that is coarser than the image."""
    if tuple(geometry.depth.shape[-2:]) == tuple(image_size) == tuple(grid):
        return geometry
    return Geometry(
        depth=sample(geometry.depth, grid),
        sky=None if geometry.sky is None else sample(geometry.sky, grid),
        cameras=resize_cameras(geometry.cameras, image_size, grid),
        scale_factor=geometry.scale_factor,
    )

"""Ray maps: the representation that the depth-ray model predicts beside depth."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import pixel_rays
from geometry.views import Cameras


def rays_from_cameras(
    cameras: Cameras, image_size: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "B V h w 6"]:
    """Ray map of known cameras: the ray head's target.

    Channels are direction, then origin, in world axes and world units. Directions keep z = 1 in their
    camera, so ``origin + depth * direction`` is the surface point; unit directions would silently turn
    depth into distance along the ray.

    Args:
        image_size: (H, W) to which the intrinsics refer.
        grid: (h, w) cells tiling that image; one ray leaves each cell centre.

    Source: DA3 (arXiv:2511.10647), depth-ray representation.
    """
    cam_to_world = se3.invert(cameras.extrinsics)
    direction = pixel_rays(cam_to_world[..., :3, :3] @ cameras.intrinsics.inverse(), image_size, grid)
    origin = cam_to_world[..., None, None, :3, 3].expand_as(direction)
    return torch.cat((direction, origin), dim=-1)


def lift(depth: Float[Tensor, "B V h w"], rays: Float[Tensor, "B V h w 6"]) -> Float[Tensor, "B V h w 3"]:
    """World points of depth along rays on the same grid: P = t + D d.

    Source: DA3 (arXiv:2511.10647), depth-ray representation.
    """
    direction, origin = rays.split(3, dim=-1)
    return origin + depth[..., None] * direction


def resize_rays(rays: Float[Tensor, "B V h w 6"], size: tuple[int, int]) -> Float[Tensor, "B V H W 6"]:
    """Linear interpolation between cell centres, and extrapolation outside the outermost ones.

    Directions and origins of a camera are affine in pixel position, so this is exact for any sizes;
    `torch.nn.functional.interpolate` clamps at the border, which bends the rays there.
    """
    return _resize_axis(_resize_axis(rays, 2, size[0]), 3, size[1])


def _resize_axis(values: Tensor, axis: int, size: int) -> Tensor:
    old = values.shape[axis]
    if old == size:
        return values
    if old == 1:
        return values.expand(*values.shape[:axis], size, *values.shape[axis + 1 :])
    position = (torch.arange(size, device=values.device, dtype=torch.float64) + 0.5) * (old / size) - 0.5
    first = position.floor().clamp(0, old - 2).long()
    second_share = (position - first).to(values.dtype).view(-1, *[1] * (values.dim() - axis - 1))
    return torch.lerp(values.index_select(axis, first), values.index_select(axis, first + 1), second_share)

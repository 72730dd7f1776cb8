"""Ray maps brought from one grid to another."""

import torch
from jaxtyping import Float
from torch import Tensor


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

"""Which Gaussians of a head with one per pixel to keep."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def keep_mask(
    depth: Float[Tensor, "B V H W"],
    opacity: Float[Tensor, "B V H W"] | None = None,
    sky: Bool[Tensor, "B V H W"] | None = None,
    *,
    border: float = 8 / 256,
    depth_quantile: float = 1.0,
    min_opacity: float = 0.0,
) -> Bool[Tensor, "B V H W"]:
    """Which pixels' Gaussians to keep: without floaters at image borders and in the sky.

    A network sees too little at an image's border to place it; such Gaussians float in any other view.
    Flattened from view 1 on the mask selects the Gaussians of a head with one per pixel.

    Args:
        opacity: of each pixel's Gaussian; goes with ``min_opacity``.
        sky: True on sky, whose Gaussians are left out.
        border: width to leave out, as a share of the image size: ``int(border * size)`` pixels at every
            side (the released exporter's 8 of 256).
        depth_quantile: leave out what is farther than this quantile of its view's depth (released: 0.9).
        min_opacity: leave out what is less opaque.
    """
    H, W = depth.shape[-2:]
    keep = depth.isfinite() & (depth > 0)
    rows, columns = int(border * H), int(border * W)
    inside = torch.zeros_like(keep)
    inside[..., rows : H - rows, columns : W - columns] = True
    keep = keep & inside
    if depth_quantile < 1:
        limit = depth.double().flatten(2).nanquantile(depth_quantile, dim=-1)
        keep = keep & (depth <= limit[..., None, None])
    if sky is not None:
        keep = keep & ~sky
    if opacity is not None:
        keep = keep & (opacity >= min_opacity)
    return keep

"""Depth maps against measured depth."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.ops.align import fit_scale, fit_scale_shift

Alignment = Literal["none", "median", "scale", "scale_shift"]


def depth_metrics(
    pred: Float[Tensor, "*views H W"],
    truth: Float[Tensor, "*views H W"],
    valid: Bool[Tensor, "*views H W"] | None = None,
    *,
    alignment: Alignment = "none",
    limits: tuple[float | None, float | None] = (None, None),
) -> dict[str, Float[Tensor, "*views"]]:
    """Errors of each depth map over its valid pixels, after aligning it to the truth.

    ``abs_rel`` is mean |p - t| / t, ``sq_rel`` mean (p - t)^2 / t (in scene units), ``delta1`` the share
    of max(p / t, t / p) < 1.25. A map without valid pixels gives NaN, which `torch.nanmean` leaves out.

    Args:
        truth: z-depth; pixels where it is not positive and finite never count, nor do pixels where the
            prediction is not finite.
        alignment: see `align_depth`. Each map is aligned by itself; to align views together, pass them as
            one tall map.
        limits: nearest and farthest depth, to which aligned predictions are clamped.
    """
    good = _usable(pred, truth, valid)
    pred = align_depth(pred, truth, good, alignment)
    if limits != (None, None):
        pred = pred.clamp(*limits)
    p, t = pred.double(), torch.where(good, truth, 1.0).double()
    error = torch.where(good, (p - t).abs(), 0.0)
    # A prediction that is not positive misses by any ratio.
    ratio = torch.where(p > 0, torch.maximum(p / t, t / p.clamp(min=1e-12)), torch.inf)
    count = good.sum((-2, -1)).double()
    return {
        "abs_rel": (error / t).sum((-2, -1)) / count,
        "sq_rel": (error**2 / t).sum((-2, -1)) / count,
        "delta1": (good & (ratio < 1.25)).sum((-2, -1)).double() / count,
    }


def align_depth(
    pred: Float[Tensor, "*views H W"],
    truth: Float[Tensor, "*views H W"],
    valid: Bool[Tensor, "*views H W"] | None = None,
    alignment: Alignment = "scale",
) -> Float[Tensor, "*views H W"]:
    """Each predicted map brought nearest the truth over its valid pixels.

    ``median`` divides medians; ``scale`` is one factor and ``scale_shift`` a factor and an offset, both by
    least squares of depth. ``none`` changes nothing.
    """
    if alignment == "none":
        return pred
    good = _usable(pred, truth, valid)
    p, t = pred.double(), truth.double()
    if alignment == "median":
        aligned = p * (_masked_median(t, good) / _masked_median(p, good))[..., None, None]
    elif alignment == "scale":
        aligned = p * fit_scale(p.flatten(-2), t.flatten(-2), good.flatten(-2))[..., None, None]
    elif alignment == "scale_shift":
        scale, shift = fit_scale_shift(p.flatten(-2), t.flatten(-2), good.flatten(-2))
        aligned = p * scale[..., None, None] + shift[..., None, None]
    else:
        raise ValueError(f"align_depth: expected none, median, scale or scale_shift, got {alignment!r}")
    return aligned.to(pred.dtype)


def _usable(pred: Tensor, truth: Tensor, valid: Tensor | None) -> Tensor:
    good = truth.isfinite() & (truth > 0) & pred.isfinite()
    return good if valid is None else good & valid


def _masked_median(values: Float[Tensor, "*views H W"], good: Bool[Tensor, "*views H W"]) -> Tensor:
    return torch.where(good, values, torch.nan).flatten(-2).nanmedian(dim=-1).values

"""Losses of the Gaussian head: rendered colour, perceptual distance, depth up to scale and shift."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from geometry.losses.objective import Objective, Terms
from geometry.losses.reduce import masked_mean
from nvs.metrics import lpips


def scale_shift_invariant_error(
    depth: Float[Tensor, "*views H W"], label: Float[Tensor, "*views H W"], valid: Bool[Tensor, "*views H W"]
) -> Float[Tensor, "*views H W"]:
    """|d~ - D~| with x~ = (x - median x) / mean |x - median x| over each view's valid pixels; 0 elsewhere.

    The same for s d + t with s > 0. Unlike least squares on the label, it penalises inverted depth. A view
    whose depth or label is constant, or that has no label, is 0.

    Source: Ranftl et al. 2020 (MiDaS), on depth.
    """
    ours, ours_spread = _standardised(depth, valid)
    theirs, theirs_spread = _standardised(torch.where(valid, label, 0.0), valid)
    defined = valid & (ours_spread > 0) & (theirs_spread > 0)
    return torch.where(defined, (ours - theirs).abs(), 0.0)


def _standardised(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Values less their masked median over their masked deviation, and that deviation [..., 1, 1]."""
    seen = valid.flatten(-2).any(-1)
    median = torch.where(valid, values, torch.nan).flatten(-2).nanmedian(dim=-1).values
    centred = values - torch.where(seen, median, 0.0)[..., None, None]
    count = valid.flatten(-2).sum(-1).clamp(min=1)[..., None, None]
    spread = torch.where(valid, centred.abs(), 0.0).sum((-1, -2), keepdim=True) / count
    return centred / torch.where(spread > 0, spread, 1.0), spread


class GaussianObjective(Objective):
    """L = w_mse MSE + w_lpips LPIPS on rendered target views + w_depth L_depth on context views.

    Two regularisers of the Gaussians may be added: their mean opacity, and their mean size in pixels.

    Args:
        mse, lpips, depth: weights, which the paper does not state. 1 and 0.05 are DepthSplat's; 0.1 for
            depth is AnySplat's for its depth consistency.
        opacity, size: weights of the regularisers. 0: the paper names none, and here a Gaussian per pixel
            cannot multiply, which is what they keep from happening in optimisation per scene (3DGS-MCMC: 0.01
            each, on scales in scene units). They help where few photos are fine-tuned on for long.

    Source: DA3 (arXiv:2511.10647) section 5.
    """

    def __init__(
        self,
        *,
        mse: float = 1.0,
        lpips: float = 0.05,
        depth: float = 0.1,
        opacity: float = 0.0,
        size: float = 0.0,
    ) -> None:
        super().__init__(mse=mse, lpips=lpips, depth=depth, opacity=opacity, size=size)

    def __call__(
        self,
        rgb: Float[Tensor, "B V 3 H W"],
        target: Float[Tensor, "B V 3 H W"],
        *,
        lpips_model: nn.Module | None = None,
        depth: Float[Tensor, "B C h w"] | None = None,
        label: Float[Tensor, "B C h w"] | None = None,
        label_valid: Bool[Tensor, "B C h w"] | None = None,
        opacities: Float[Tensor, "B N"] | None = None,
        sizes: Float[Tensor, "B N"] | None = None,
    ) -> Terms:
        """Terms by name.

        Args:
            rgb, target: rendered and true target views, 0..1.
            depth: of the Gaussians at the context views.
            label, label_valid: aligned teacher depth there; None where a batch has no labels, and the term
                is then absent.
            opacities, sizes: of the Gaussians, 0..1 and pixels (standard deviation, mean over axes).

        Raises:
            ValueError: a weight is set for LPIPS without a model, or for depth with labels but no depth.
        """
        terms = {}
        if self.on("mse"):
            terms["mse"] = (rgb - target).square().mean(dim=2).mean()
        if self.on("lpips"):
            if lpips_model is None:
                raise ValueError(
                    "the lpips weight is not 0: hand in nvs.metrics.load_lpips(), or set it to 0"
                )
            terms["lpips"] = lpips(rgb.flatten(0, 1), target.flatten(0, 1), lpips_model).mean()
        if self.on("depth") and label is not None:
            if depth is None or label_valid is None:
                raise ValueError("the depth term needs depth and label_valid beside the labels")
            terms["depth"] = masked_mean(scale_shift_invariant_error(depth, label, label_valid), label_valid)
        if self.on("opacity") and opacities is not None:
            terms["opacity"] = opacities.mean()
        if self.on("size") and sizes is not None:
            terms["size"] = sizes.mean()
        return terms

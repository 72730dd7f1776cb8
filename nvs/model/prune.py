"""Pruning Gaussians that are mostly artefacts: at image borders, far behind everything, transparent."""

import torch
from jaxtyping import Bool
from torch import Tensor

from geometry.ops.sky import SKY_THRESHOLD
from nvs.model.splatter import Splats

BORDER = 8 / 256  # of each side, left out: ``int(BORDER * side)`` pixels, as the released exporter has it
FAR_QUANTILE = 0.98  # of each view's depth; released: 0.9
MIN_OPACITY = 1 / 255  # below this a Gaussian is skipped by every renderer


def worth_keeping(splats: Splats) -> Bool[Tensor, " N"]:
    """Which Gaussians of one scene, one a pixel, are rendered and written to files.

    Predictions at image borders are the least certain, and a border pixel of one view lies in the middle
    of another, so with several views nothing is lost. A lone photo keeps its border. Sky, where it is
    known, and the farthest 2 % of each view's pixels float wherever they are placed. Depth measured
    between the photos has no worse borders, and its untrusted Gaussians are nearly transparent: of
    those only the fully transparent are left out.
    """
    depth, sky = splats.geometry.depth, splats.geometry.sky
    keep = depth.isfinite() & (depth > 0) & (splats.gaussians.opacities.view_as(depth) >= MIN_OPACITY)
    if sky is not None:
        keep &= ~(sky >= SKY_THRESHOLD)
    if splats.predicted and depth.shape[1] > 1:
        H, W = depth.shape[-2:]
        rows, columns = int(BORDER * H), int(BORDER * W)
        inside = torch.zeros_like(keep)
        inside[..., rows : H - rows, columns : W - columns] = True
        limit = depth.double().flatten(2).nanquantile(FAR_QUANTILE, dim=-1)
        keep &= inside & (depth <= limit[..., None, None])
    return keep[0].flatten()

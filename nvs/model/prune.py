"""Pruning Gaussians that are mostly artefacts: at image borders, far behind everything, transparent."""

from jaxtyping import Bool
from torch import Tensor

from geometry.ops.sky import SKY_THRESHOLD
from nvs.gaussians import Gaussians
from nvs.gaussians.selection import keep_mask
from nvs.model.splatter import Splats

FAR_QUANTILE = 0.98
MIN_OPACITY = 1 / 255  # below this a Gaussian is skipped by every renderer


def prune(splats: Splats) -> Gaussians:
    """Gaussians of one scene without floaters (`worth_keeping`): what is rendered and written to files."""
    return splats.gaussians[:, worth_keeping(splats)]


def worth_keeping(splats: Splats) -> Bool[Tensor, " N"]:
    """Which Gaussians of one scene to keep.

    Predictions at image borders are the least certain, and a border pixel of one view lies in the middle
    of another, so with several views nothing is lost. A lone photo keeps its border. Sky, where it is
    known, and the farthest 2 % of each view's pixels float wherever they are placed. Depth measured
    between the photos has no worse borders, and its untrusted Gaussians are nearly transparent: of
    those only the fully transparent are left out.
    """
    geometry, gaussians = splats.geometry, splats.gaussians
    several = splats.predicted and geometry.depth.shape[1] > 1
    keep = keep_mask(
        geometry.depth,
        gaussians.opacities.view_as(geometry.depth),
        None if geometry.sky is None else geometry.sky >= SKY_THRESHOLD,
        border=8 / 256 if several else 0.0,
        depth_quantile=FAR_QUANTILE if several else 1.0,
        min_opacity=MIN_OPACITY,
    )
    return keep[0].flatten()

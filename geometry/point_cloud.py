"""A coloured point cloud from depth, cameras and images."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from geometry.ops.pinhole import unproject
from geometry.ops.sky import SKY_THRESHOLD
from geometry.prediction import Geometry

MAX_POINTS = 1_000_000


@dataclass(frozen=True)
class PointCloud:
    """Points of one scene in its world, with sRGB colours and the view that each came from."""

    points: Float[np.ndarray, "N 3"]
    colours: UInt8[np.ndarray, "N 3"]
    view: Int[np.ndarray, " N"]


def point_cloud(
    geometry: Geometry,
    images: Float[Tensor, "1 V 3 H W"],
    valid: Bool[Tensor, "1 V H W"] | None = None,
    *,
    conf_percentile: float = 40.0,
    max_points: int = MAX_POINTS,
    seed: int = 0,
) -> PointCloud:
    """Unprojected pixels of one scene, the less confident and the sky left out.

    Args:
        images: sRGB in 0..1.
        valid: pixels that show a photo, where some are padding.
        conf_percentile: share of pixels, in percent, that is dropped as least confident.
        max_points: a random subset of at most this many is kept.
        seed: of that subset.
    """
    keep = torch.isfinite(geometry.depth) & (geometry.depth > 0)
    if valid is not None:
        keep &= valid
    if geometry.sky is not None:
        keep &= geometry.sky < SKY_THRESHOLD
    if geometry.depth_conf is not None and keep.any():
        confident = np.percentile(geometry.depth_conf[keep].float().cpu().numpy(), conf_percentile)
        keep &= geometry.depth_conf >= float(confident)
    index = keep[0].flatten().nonzero()[:, 0]
    if len(index) > max_points:
        order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))
        index = index[order[:max_points].sort().values.to(index.device)]
    points = unproject(geometry.depth, geometry.cameras)[0].flatten(0, 2)[index]
    colours = images[0].movedim(1, -1).flatten(0, 2)[index]
    per_view = geometry.depth.shape[-2] * geometry.depth.shape[-1]
    return PointCloud(
        points=points.float().cpu().numpy(),
        colours=(colours.clamp(0, 1) * 255).round().byte().cpu().numpy(),
        view=(index // per_view).cpu().numpy(),
    )

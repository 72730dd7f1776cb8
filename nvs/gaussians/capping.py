"""Gaussians so large that they would be drawn over every picture."""

from dataclasses import replace

import torch

from nvs.gaussians.record import Gaussians

_FAR_TOO_LARGE = 4.0  # times the distance from the scene's middle


def capped(gaussians: Gaussians) -> tuple[Gaussians, int]:
    """Gaussians of one scene with none that would be drawn over every picture of it, and how many were.

    Such are those whose standard deviation is several times as long as they are away from the scene's middle
    (near it: as the median of all is). It becomes as long as that distance. No picture needs them, and
    viewers stop or crash when they blend many.
    """
    means = gaussians.means[0]
    if len(means) < 2:
        return gaussians, 0
    away = torch.linalg.vector_norm(means - means.median(dim=0).values, dim=-1)
    limit = away.clamp(min=float(away.median()))
    largest = gaussians.scales[0].amax(dim=-1)
    above = (largest > _FAR_TOO_LARGE * limit) & (limit > 0)
    if not bool(above.any()):
        return gaussians, 0
    scales = torch.where(above[:, None], gaussians.scales[0].minimum(limit[:, None]), gaussians.scales[0])
    return replace(gaussians, scales=scales[None]), int(above.sum())

"""Few photos: each step draws without some of the Gaussians, so that none is right for one photo alone."""

from dataclasses import replace

import torch

from nvs.gaussians import Gaussians

SHARE, FEW, MANY = 0.4, 3, 7  # left out of so few photos; from so many on nothing is
_UNTIL = 0.9  # of the steps: the last ones settle all of them


def dropped_share(photos: int, progress: float) -> float:
    """The share of Gaussians that a step does without: `SHARE` of up to `FEW` photos, none of `MANY`."""
    return SHARE * min(max((MANY - photos) / (MANY - FEW), 0.0), 1.0) if progress < _UNTIL else 0.0


def without_some(gaussians: Gaussians, share: float, generator: torch.Generator) -> Gaussians:
    """Gaussians of which each is transparent with a chance of ``share``, and else as much more opaque.

    A photo then teaches also what lies behind, and what only one photo shows cannot rely on its neighbours.

    Args:
        generator: on the CPU, so that devices draw the same.

    Source: Park et al. 2025 (DropGaussian); the share by the number of photos is ours.
    """
    kept = torch.rand(gaussians.opacities.shape, generator=generator) >= share
    opacities = gaussians.opacities * (kept.to(gaussians.opacities) / (1 - share))
    return replace(gaussians, opacities=opacities.clamp(max=0.999))

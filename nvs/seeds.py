"""Which photos become Gaussians, and how densely: a part of them before refinement, and of very many always.

Every photo that becomes Gaussians shows mostly what others have shown, and a step's time grows with the
Gaussians. Refinement learns from all photos, so a spread part of them makes a better start than all, and of
their Gaussians a sample of small ones a better start than all at a wider spacing, which are larger.
Measured: docs/bundled-model.md.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.scenes.view_selection import select_views
from geometry.views import Views
from nvs.options import GaussianOptions

REFINED_SPACING = 4.0  # pixels for each Gaussian that is refined: fewer converge faster, overfit less
FINEST = 2.0  # pixels between those of which they are a sample
MOST_REFINED = 600_000  # Gaussians that are refined, and of which they are a sample
_UNSEEN = 1e-2  # pixels that a Gaussian counts for at least
MOST_GAUSSIANS = 3_000_000  # of a draft
SEEDS, SEED_SHARE = 32, 1 / 3  # as many photos, or that share of them, make the Gaussians that are refined
FEWEST = 8  # that are taken however few minutes there are
MINUTES_SHARE = 1 / 3  # of the minutes, for depth and Gaussians; the others are refinement's
TIMED = (2, 5)  # photos; the first ones load and compile


def choose_seeds(views: Views, options: GaussianOptions, most: int | None = None) -> list[int]:
    """The views that become Gaussians, in their order, spread by their poses.

    Args:
        most: that time allows; None: any number.
    """
    V = views.images.shape[1]
    if views.cameras is None:
        return list(range(V))
    H, W = views.image_size
    share = round(SEED_SHARE * V)
    if options.refines:
        room = int(MOST_REFINED * (options.spacing or REFINED_SPACING) ** 2 / (H * W))
        count = max(SEEDS, min(room, share))
    else:  # what more photos add to a draft is mostly haze
        room = int(MOST_GAUSSIANS * (options.spacing or FINEST) ** 2 / (H * W))
        count = max(SEEDS, room, share)
    return _spread(views, count if most is None else min(count, max(FEWEST, most)))


def spread_gaussians(
    image_size: tuple[int, int], views: int, options: GaussianOptions, least: float
) -> float:
    """Pixels from one Gaussian of so many views to the next: many share a budget.

    Args:
        least: without refinement.
    """
    H, W = image_size
    most = MOST_REFINED if options.refines else MOST_GAUSSIANS
    if options.refines:  # a sample of what too few photos show would leave holes
        least = FINEST if views >= (REFINED_SPACING / FINEST) ** 2 else REFINED_SPACING
    return max(least, math.sqrt(views * H * W / most))


def sampled(pixels: Float[Tensor, " N"], spacing: float, seed: int) -> Int[Tensor, " n"]:
    """As many Gaussians as lie `REFINED_SPACING` apart, of those ``spacing`` pixels apart; in their order.

    Each has a chance in proportion to what pictures show of it, so of surfaces that many photos show a few
    remain, small as they are, and hidden ones hardly any.

    Args:
        pixels: of `nvs.fusion.visibility`.

    Source: weighted sampling without replacement by exponential keys, Efraimidis and Spirakis 2006.
    """
    count = round(len(pixels) * min(1.0, spacing / REFINED_SPACING) ** 2)
    draws = torch.empty(len(pixels)).exponential_(generator=torch.Generator().manual_seed(seed))
    return (pixels.clamp(min=_UNSEEN) / draws.to(pixels)).topk(count).indices.sort().values


def affordable(views: Views, minutes: float, spent: float, splat: Callable[[Views], Any]) -> int:
    """As many posed views as ``splat`` takes in its share of the minutes, after timing a few.

    Args:
        spent: seconds of the minutes that are over.
    """
    begun, each = time.perf_counter(), 0.0
    for count in TIMED:
        start = time.perf_counter()
        splat(views[:, _spread(views, count)])
        each = (time.perf_counter() - start) / count
    left = 60 * minutes - spent - (time.perf_counter() - begun)
    return int(MINUTES_SHARE * left / each)


def _spread(views: Views, count: int) -> list[int]:
    assert views.cameras is not None
    poses = views.cameras.extrinsics[0].double().cpu().numpy()
    return select_views(poses, len(poses), count)

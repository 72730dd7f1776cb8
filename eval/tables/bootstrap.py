"""Is a difference between two methods more than the variation between scenes?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEAST_SCENES = 5  # of an interval: drawn from fewer, it would be much too narrow


class Difference(NamedTuple):
    """Mean over scenes of a paired difference, and its interval; none from fewer than `LEAST_SCENES`."""

    mean: float
    low: float | None
    high: float | None
    scenes: int


def paired_difference(
    first: Float[np.ndarray, " S"],
    second: Float[np.ndarray, " S"],
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Mean of ``first - second`` over the same scenes, with a percentile bootstrap interval over scenes.

    Scenes, not images, are drawn: images of one scene are alike and would make the interval too narrow. The
    pairing takes out that some scenes are hard for every method.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    count = len(difference)
    mean = float(difference.mean())
    if count < LEAST_SCENES:
        return Difference(mean, None, None, count)
    drawn = np.random.default_rng(seed).integers(0, count, (draws, count))
    tail = 50 * (1 - level)
    low, high = np.percentile(difference[drawn].mean(axis=1), (tail, 100 - tail)).tolist()
    return Difference(mean, low, high, count)

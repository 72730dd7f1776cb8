"""Numbers as colours: depth and confidence maps."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

_UNKNOWN = np.array([128, 128, 128], np.uint8)  # a grey that neither map contains
_SAMPLES = 1_000_000  # percentiles of more values look the same
_FAR_COLOUR = 0.12  # where depth enters its table of colours, whose first ones are black


def colour_depth(
    depth: Float[np.ndarray, "*views H W"], limits: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "*views H W 3"]:
    """Depth in even steps of inverse depth, near bright, far dark; what is not positive and finite grey.

    The far end is dark violet, not black: a surface beyond it still looks like one.

    Args:
        limits: depths (near, far) at the ends of the colours; by default `depth_limits` of this map. Give
            the same to all frames of a video, or its colours flicker.
    """
    known = np.isfinite(depth) & (depth > 0)
    near, far = depth_limits(depth) if limits is None else limits
    low, high = 1 / far, 1 / near
    inverse = 1 / np.where(known, depth, 1.0)
    value = np.clip((inverse - low) / max(high - low, 1e-12), 0, 1)
    return _mapped(_FAR_COLOUR + (1 - _FAR_COLOUR) * value, known, "inferno")


def depth_limits(depth: Float[np.ndarray, "*views H W"]) -> tuple[float, float]:
    """(near, far) between which depth is coloured; (1, 2) where no depth is positive and finite.

    The 2nd and 98th percentile, within Tukey's fences of the inverse depths (wider: six times the distance of
    the quartiles, or twice the median): floaters and photos far outside do not take the colours of all
    others.
    """
    values = _sample(depth)
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) == 0:
        return 1.0, 2.0
    inverse = 1 / values.astype(np.float64)
    low, first, middle, third, high = np.percentile(inverse, (2, 25, 50, 75, 98)).tolist()
    reach = max(6 * (third - first), 2 * middle)
    near, far = 1 / min(high, third + reach), 1 / max(low, first - reach)
    return near, max(far, near * (1 + 1e-6))


def colour_confidence(
    conf: Float[np.ndarray, "*views H W"], limits: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "*views H W 3"]:
    """Confidence from dark (low) to yellow (high); what is not finite grey.

    Args:
        limits: (low, high) at the ends of the colours; by default the 2nd and 98th percentile.
    """
    known = np.isfinite(conf)
    if limits is None:
        values = _sample(conf)
        values = values[np.isfinite(values)]
        limits = tuple(np.percentile(values, (2.0, 98.0)).tolist()) if len(values) else (0.0, 1.0)
    low, high = limits
    return _mapped((np.where(known, conf, low) - low) / max(high - low, 1e-12), known, "viridis")


def _sample(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values).reshape(-1)
    return flat[:: max(1, len(flat) // _SAMPLES)]


def _mapped(
    value: Float[np.ndarray, "*shape"], known: Bool[np.ndarray, "*shape"], name: str
) -> UInt8[np.ndarray, "*shape 3"]:
    index = np.round(255 * np.clip(value, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(index.reshape(-1, 1), _table(name)).reshape(*index.shape, 3)
    colours[~known] = _UNKNOWN
    return colours


@lru_cache
def _table(name: str) -> UInt8[np.ndarray, "256 1 3"]:
    import matplotlib  # tenths of a second to import, and only its tables are wanted

    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, None, :3].copy()

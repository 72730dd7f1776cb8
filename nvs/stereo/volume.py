"""How well the photos agree at every pixel on every plane: the matching volume of a plane sweep."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int

# Variance of noise in grey levels: a window without texture correlates with nothing instead of with anything.
_NOISE = 1e-4
_OUTSIDE = -10.0  # grey level where a warped photo shows nothing; far from 0..1, so that mixtures show


def matching_volume(
    grey: Float[np.ndarray, "V H W"],
    maps: Float[np.ndarray, "B S 2 3 3"],
    sources: Int[np.ndarray, "B S"],
    inverse: Float[np.ndarray, "B P"],
    *,
    window: int,
    views: Int[np.ndarray, " B"] | None = None,
    mask: Bool[np.ndarray, "V H W"] | None = None,
) -> Float[np.ndarray, "B H W P"]:
    """Normalised cross-correlation (NCC) of windows, -1..1, mean of the two best sources of each pixel.

    Two, so that occluded sources do no harm. Where no source sees the point the
    value is 0: neither for nor against. Runs on the CPU, on as many threads as torch uses.

    Args:
        maps: of `pixel_maps`, for ``sources``.
        inverse: 1 / z-depth of each view's planes.
        window: side of the windows, pixels, odd.
        views: which views are matched, in the order of ``maps``; None is all of them.
        mask: False where a source shows nothing to be matched.

    Source: Collins 1996 (space sweep); Goesele et al. 2006 (NCC over the best views).
    """
    V, H, W = grey.shape
    P = inverse.shape[1]
    views = np.arange(V) if views is None else views
    volume = np.empty((len(views), H, W, P), np.float32)
    shown = grey if mask is None else np.where(mask, grey, np.float32(_OUTSIDE))

    def fill(i: int) -> None:
        moments = _Moments(grey[views[i]], window)
        planes = np.empty((P, H, W), np.float32)
        for p in range(P):
            planes[p] = _score(moments, shown, sources[i], maps[i], inverse[i, p])
        volume[i] = planes.transpose(1, 2, 0)  # plane last, as the smoothing reads it

    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        list(pool.map(fill, range(len(views))))
    return volume


class _Moments:
    """A photo with what every comparison of its windows needs."""

    def __init__(self, grey: Float[np.ndarray, "H W"], window: int) -> None:
        self.grey, self._window = grey, (window, window)
        self.mean = self.box(grey)
        self.over_spread = 1 / np.sqrt(np.maximum(self.box(grey * grey) - self.mean**2, 0) + _NOISE)

    def box(self, values: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
        return cv2.boxFilter(values, -1, self._window, borderType=cv2.BORDER_REFLECT)

    def ncc(self, other: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
        mean = self.box(other)
        variance = np.maximum(self.box(other * other) - mean * mean, 0) + _NOISE
        return (self.box(other * self.grey) - mean * self.mean) * self.over_spread / np.sqrt(variance)


def _score(
    moments: _Moments,
    grey: Float[np.ndarray, "V H W"],
    others: Int[np.ndarray, " S"],
    maps: Float[np.ndarray, "S 2 3 3"],
    inverse: float | np.floating,
) -> Float[np.ndarray, "H W"]:
    """Agreement of one view with its sources on one plane."""
    H, W = moments.grey.shape
    best = np.full((H, W), -1.0, np.float32)
    second = best.copy()
    for other, (at_infinity, shift) in zip(others, maps):
        warped, inside = _warp(grey[other], at_infinity + inverse * shift)
        ncc = np.where(inside, moments.ncc(warped), np.float32(-1))
        np.maximum(second, np.minimum(best, ncc), out=second)
        np.maximum(best, ncc, out=best)
    mean = 0.5 * (best + np.where(second > -1, second, 0))  # one source alone counts half
    return np.where(best > -1, mean, 0)


def _warp(
    image: Float[np.ndarray, "H W"], homography: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "H W"], np.ndarray]:
    """The image seen through a homography, and where it shows something."""
    H, W = image.shape
    warped = cv2.warpPerspective(
        image,
        homography,
        (W, H),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_OUTSIDE,
    )
    inside = warped >= 0
    corners = homography[2] @ np.array([[0, W, 0, W], [0, 0, H, H], [1, 1, 1, 1]])
    if corners.min() <= 0:  # part of the plane is behind the other camera, where it shows mirrored
        x, y = np.arange(W), np.arange(H)[:, None]
        inside &= homography[2, 0] * x + homography[2, 1] * y + homography[2, 2] > 0
    warped[~inside] = 0
    return warped, inside

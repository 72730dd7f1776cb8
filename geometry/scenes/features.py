"""Local features of photos, and which pairs of many photos are worth matching by all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

_FEW = 256  # of a photo's features, the largest, say what it shows
_TOGETHER = 64  # photos that one is compared with at once
_RATIO = 0.85  # a match is nearer than the second by this, as an angle


@dataclass(frozen=True, kw_only=True)
class Features:
    """Root SIFT of one photo."""

    places: Float[np.ndarray, "n 2"]  # pixels, (0.5, 0.5) is the centre of the first
    scales: Float[np.ndarray, " n"]  # pixels
    angles: Float[np.ndarray, " n"]  # radians
    descriptors: Float[np.ndarray, "n 128"]  # of length 1


def find_features(
    grey: UInt8[np.ndarray, "H W"],
    most: int,
    *,
    keep: Bool[np.ndarray, "H W"] | None = None,
    layers: int = 4,
    contrast: float = 0.012,
) -> Features:
    """The ``most`` strongest features of a photo.

    Args:
        keep: where they may lie, None for everywhere.
        layers: scales of an octave; 4 find as many matches between photos taken far apart as COLMAP's own
            features, 3 find a seventh fewer.
        contrast: of 1, that a feature has at least, summed over the layers.

    Source: Lowe 2004; Arandjelović and Zisserman 2012.
    """
    sift = cv2.SIFT.create(most, nOctaveLayers=layers, contrastThreshold=contrast)
    found, descriptors = sift.detectAndCompute(grey, None if keep is None else keep.astype(np.uint8))
    if not found:
        return Features(
            places=np.zeros((0, 2), np.float32),
            scales=np.zeros(0, np.float32),
            angles=np.zeros(0, np.float32),
            descriptors=np.zeros((0, 128), np.float32),
        )
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    # OpenCV counts from the centre of the first pixel, and is a quarter off where it has enlarged the photo.
    return Features(
        places=np.array([p.pt for p in found], np.float32) + 0.25,
        scales=np.array([p.size for p in found], np.float32) / 2,
        angles=np.deg2rad(np.array([p.angle for p in found], np.float32)),
        descriptors=root.astype(np.float32),
    )


def largest(features: Features) -> Float[Tensor, "few 128"]:
    """Descriptors of the largest features; zeros, which match nothing, where a photo has fewer."""
    chosen = np.argsort(-features.scales, kind="stable")[:_FEW]
    few = torch.zeros(_FEW, 128)
    few[: len(chosen)] = torch.from_numpy(features.descriptors[chosen])
    return few


def pairs_to_match(few: Sequence[Float[Tensor, "few 128"]], partners: int) -> list[tuple[int, int]]:
    """Pairs of photos, lower index first, in order: each photo with the others that share most with it.

    What two share is counted in mutually nearest features that are clearly nearer than the second. It takes
    a hundredth of the time of matching all features.

    Args:
        few: the `largest` features of each photo.
        partners: others for each photo at least, as far as there are so many.

    Source: preemptive matching, Wu 2013.
    """
    shared = torch.zeros(len(few), len(few), dtype=torch.long)
    for i, one in enumerate(few):
        for j in range(i + 1, len(few), _TOGETHER):
            others = torch.stack(list(few[j : j + _TOGETHER]))
            shared[i, j : j + len(others)] = _matches(one, others)
    shared += shared.T.clone()
    shared.fill_diagonal_(-1)
    best = shared.argsort(dim=1, descending=True, stable=True)[:, : min(partners, len(few) - 1)]
    return sorted({(min(i, j), max(i, j)) for i, row in enumerate(best.tolist()) for j in row})


def _matches(one: Float[Tensor, "few 128"], others: Float[Tensor, "N few 128"]) -> Int[Tensor, " N"]:
    """How many features of one photo have a match in each of the others."""
    alike = torch.einsum("fc,ngc->nfg", one, others)
    first, nearest = alike.max(dim=2)
    back = alike.max(dim=1).indices
    mutual = back.gather(1, nearest) == torch.arange(len(one))
    second = alike.scatter(2, nearest[..., None], -1.0).max(dim=2).values
    angle, next_angle = (a.clamp(-1, 1).arccos() for a in (first, second))
    return (mutual & (angle < _RATIO * next_angle)).sum(dim=1)

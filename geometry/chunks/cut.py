"""In which order photos go through the network, and where that order is cut into chunks."""

import math

import numpy as np
import torch
from jaxtyping import Float

from geometry.ops import se3

_KEPT = 1.5  # the given order stays if its way is no more than this times as long as ours


def cut(count: int, size: int, shared: int) -> list[range]:
    """Runs of ``size`` that cover ``count`` photos, each with ``shared`` of the one before at least."""
    if count <= size:
        return [range(count)]
    runs = math.ceil((count - shared) / (size - shared))
    starts = [round(k * (count - size) / (runs - 1)) for k in range(runs)]
    return [range(start, start + size) for start in starts]


def in_order(features: Float[np.ndarray, "V D"]) -> list[int]:
    """An order in which neighbours are alike: the given one, if it is one, else a way from each to the next.

    Photos of a walk or a video come in order; those of many people, or with random names, do not. The way
    starts at an end (the photo farthest from the one farthest from all) and goes on to the nearest photo
    that was not yet met.

    Args:
        features: of each photo; what is alike lies close together.
    """
    if len(features) < 3:
        return list(range(len(features)))
    left = np.ones(len(features), bool)
    at = int(np.argmax(_distances(features, features[np.argmax(_distances(features, features.mean(0)))])))
    order, length = [at], 0.0
    for _ in range(len(features) - 1):
        left[at] = False
        far = np.where(left, _distances(features, features[at]), np.inf)
        at = int(np.argmin(far))
        order.append(at)
        length += far[at]
    given = np.linalg.norm(np.diff(features.astype(np.float32), axis=0), axis=1).sum()
    return list(range(len(features))) if given <= _KEPT * length else order


def camera_features(extrinsics: Float[np.ndarray, "V 4 4"]) -> Float[np.ndarray, "V 6"]:
    """Place and direction: near for cameras that see the same; a tenth of the spread counts as 30 degrees."""
    poses = torch.from_numpy(np.asarray(extrinsics, dtype=np.float64))
    centres = se3.centres(poses).numpy()
    spread = np.linalg.norm(centres - centres.mean(0), axis=1).max()
    return np.concatenate((centres / (spread or 1.0), 0.2 * poses[:, 2, :3].numpy()), axis=1)


def _distances(features: Float[np.ndarray, "V D"], one: Float[np.ndarray, " D"]) -> Float[np.ndarray, " V"]:
    return np.linalg.norm(features.astype(np.float32) - one.astype(np.float32), axis=1)

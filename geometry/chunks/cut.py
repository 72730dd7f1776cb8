"""In which order photos go through the network, and where that order is cut into chunks."""

import math

import numpy as np
import torch
from jaxtyping import Float

from geometry.ops import se3
from geometry.scenes.view_selection import evenly_spaced

_ASKED = 200  # photos whose followers are judged
_ORDERLY = 0.25  # share of the photos that are more alike than the next one, up to which there is an order


def cut(count: int, size: int, shared: int) -> list[range]:
    """Runs of ``size`` that cover ``count`` photos, each with ``shared`` of the one before at least."""
    if count <= size:
        return [range(count)]
    runs = math.ceil((count - shared) / (size - shared))
    starts = [round(k * (count - size) / (runs - 1)) for k in range(runs)]
    return [range(start, start + size) for start in starts]


def in_order(features: Float[np.ndarray, "V D"]) -> list[int]:
    """An order in which neighbours are alike: the given one, if it is one, else a way from each to the next.

    Photos of a walk or a video come in order: the next one is more alike than most. Those of many people, or
    with random names, do not. The way then starts at an end (the photo farthest from the one farthest from
    all) and goes on to the nearest photo that was not yet met.

    Args:
        features: of each photo; what is alike lies close together.
    """
    if (V := len(features)) < 3:
        return list(range(V))
    features = features.astype(np.float32)

    def away(one: int) -> Float[np.ndarray, " V"]:
        return np.linalg.norm(features - features[one], axis=1)

    asked = ((i, away(i)) for i in evenly_spaced(V - 1, _ASKED))
    nearer = [((far < far[i + 1]).sum() - 1) / V for i, far in asked]
    if np.median(nearer) <= _ORDERLY:
        return list(range(V))
    at = int(np.argmax(away(int(np.argmax(np.linalg.norm(features - features.mean(0), axis=1))))))
    left, order = np.ones(V, bool), [at]
    for _ in range(V - 1):
        left[at] = False
        at = int(np.argmin(np.where(left, away(at), np.inf)))
        order.append(at)
    return order


def camera_features(extrinsics: Float[np.ndarray, "V 4 4"]) -> Float[np.ndarray, "V 6"]:
    """Place and direction: near for cameras that see the same; a tenth of the spread counts as 30 degrees."""
    poses = torch.from_numpy(np.asarray(extrinsics, dtype=np.float64))
    centres = se3.centres(poses).numpy()
    spread = np.linalg.norm(centres - centres.mean(0), axis=1).max()
    return np.concatenate((centres / (spread or 1.0), 0.2 * poses[:, 2, :3].numpy()), axis=1)

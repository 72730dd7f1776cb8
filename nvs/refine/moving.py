"""Parts of photos that show what no other photo shows there: people, cars, hands that moved meanwhile."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

LOOKS = (0.4, 0.7)  # of the steps, after which photos are held against what all have taught; and at the end
SHARE = 0.5  # of refinement's steps, done before it to find what has moved
_WINDOW = 1 / 40  # of a photo's shorter side: differences count in the mean over it
_SURE, _DOUBTED = 0.3, 0.08  # difference of a colour, 0..1: somewhere in a part, and all over it
_LEAST, _MOST = 0.001, 0.5  # of a photo: smaller parts stay; where more differs, it is not what has moved
_OPAQUE = 0.9  # alpha below which a picture shows too little to be held against


def moved(
    drawn: Float[Tensor, "3 H W"], alpha: Float[Tensor, "H W"], photo: Float[Tensor, "3 H W"]
) -> Bool[Tensor, "H W"]:
    """Where a photo differs so much from its rendering that something must have moved.

    The rendering is of Gaussians that have learnt from all photos for a while: what most of them agree on.

    Args:
        alpha: of the rendering; where it is low, nothing is known.
        photo: in 0..1.
    """
    H, W = alpha.shape
    side = max(3, round(_WINDOW * min(H, W))) | 1
    away, solid = (drawn - photo).movedim(0, -1).cpu().numpy(), alpha.cpu().numpy()
    away = np.abs(cv2.blur(np.ascontiguousarray(away), (side, side))).max(axis=-1)
    away[cv2.blur(solid, (side, side)) < _OPAQUE] = 0
    count, parts, facts, _ = cv2.connectedComponentsWithStats((away > _DOUBTED).astype(np.uint8))
    most = np.zeros(count, np.float32)
    np.maximum.at(most, parts, away)
    kept = (facts[:, cv2.CC_STAT_AREA] >= _LEAST * H * W) & (most > _SURE)
    kept[0] = False  # what is no part
    found = cv2.dilate(kept[parts].astype(np.uint8), np.ones((2 * side + 1, 2 * side + 1), np.uint8)) > 0
    return torch.from_numpy(found if found.mean() <= _MOST else np.zeros_like(found)).to(alpha.device)

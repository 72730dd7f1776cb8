"""Depth that no camera measured: what a set stores for its sky, 1e10 say, without labelling it."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from geometry.views import Example

FAR = 1000.0  # times the near quarter of the depths; a scene's real ones span less
_ENOUGH = 10_000  # depths that tell where the near quarter ends


def is_far(depth: Float[np.ndarray, "*views H W"]) -> Bool[np.ndarray, "*views H W"]:
    """Depths so far beyond the others that one of them would set the scale of the scene."""
    measured = depth[depth > 0]
    if not len(measured):
        return np.zeros(depth.shape, bool)
    return depth > FAR * np.quantile(measured[:: 1 + len(measured) // _ENOUGH], 0.25)


def without_far_depth(example: Example) -> tuple[Example, str]:
    """The sample with such depths taken as not measured, and what was dropped, empty if nothing was."""
    depth = example.truth.depth.numpy()
    far = is_far(depth)
    if not far.any():
        return example, ""
    keep = torch.from_numpy(~far)
    truth = replace(
        example.truth, depth=torch.where(keep, example.truth.depth, 0.0), valid=example.truth.valid & keep
    )
    return replace(example, truth=truth), (
        f"{far.sum()} of {(depth > 0).sum()} depths are over {FAR:.0f} times as far as the near quarter, up "
        f"to {depth.max():.3g}; taken as not measured. If they are the sky's, store 0 there"
    )

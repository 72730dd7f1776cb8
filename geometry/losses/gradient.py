"""L_grad: depth differences between neighbouring pixels."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import mean_of_views


def gradient_loss(
    depth: Float[Tensor, "*views H W"], target: Float[Tensor, "*views H W"], valid: Bool[Tensor, "*views H W"]
) -> Float[Tensor, ""]:
    """L_grad = |dx D^ - dx D|_1 + |dy D^ - dy D|_1 over pairs of neighbours that are both valid.

    Each direction is averaged over its own pairs (`mean_of_views`). One scale only: the paper names finite
    differences, not a pyramid.

    Source: DA3 (arXiv:2511.10647) section 3.
    """
    error = depth - torch.where(valid, target, 0.0)
    across = mean_of_views(error.diff(dim=-1).abs(), valid[..., 1:] & valid[..., :-1])
    down = mean_of_views(error.diff(dim=-2).abs(), valid[..., 1:, :] & valid[..., :-1, :])
    return across + down

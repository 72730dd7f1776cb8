"""L_sky and L_obj: predicted masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import masked_mean


def mask_loss(
    prediction: Float[Tensor, "*views H W"],
    target: Bool[Tensor, "*views H W"],
    known: Bool[Tensor, "*views H W"] | None = None,
) -> Float[Tensor, ""]:
    """L_sky = L_obj = MSE of the predicted mask, 1 on sky (or object) and 0 elsewhere.

    Args:
        known: where the label can be trusted; None is everywhere.

    Source: DA3 (arXiv:2511.10647) section 4.
    """
    error = (prediction - target.to(prediction)).square()
    return masked_mean(error, torch.ones_like(target) if known is None else known)

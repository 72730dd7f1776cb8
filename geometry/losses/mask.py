"""L_sky and L_obj: predicted masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import masked_mean


def mask_loss(
    prediction: Float[Tensor, "*views H W"], target: Bool[Tensor, "*views H W"]
) -> Float[Tensor, ""]:
    """L_sky = L_obj = MSE of the predicted mask, 1 on sky (or object) and 0 elsewhere.

    Source: DA3 (arXiv:2511.10647) section 4.
    """
    return masked_mean((prediction - target.to(prediction)).square(), torch.ones_like(target))

"""L_D: confidence-weighted depth."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import confidence_weighted, mean_of_views

LAMBDA_C = 0.2


def depth_loss(
    depth: Float[Tensor, "B V H W"],
    target: Float[Tensor, "B V H W"],
    valid: Bool[Tensor, "B V H W"],
    conf: Float[Tensor, "B V H W"] | None = None,
    *,
    lambda_c: float = LAMBDA_C,
) -> Float[Tensor, ""]:
    """L_D = 1/Z sum m (C |D^ - D| - lambda_c log C).

    Its minimum over C is at C = lambda_c / |D^ - D|, and can be negative. Z counts the valid pixels of a
    view (`mean_of_views`), so that views with few measured depths train depth as dense ones do.

    Args:
        conf: C, at least 1; None is plain l1 (models without confidence).
        lambda_c: not stated in the paper. 0.2 is DUSt3R's; with scenes normalised to mean distance 1 it
            puts C = 1 at an error of 20 % of the scene, so that confidence means something above it.

    Source: DA3 (arXiv:2511.10647) section 3.
    """
    error = (depth - torch.where(valid, target, 0.0)).abs()
    if conf is not None:
        error = confidence_weighted(error, conf, lambda_c)
    return mean_of_views(error, valid)

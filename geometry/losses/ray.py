"""L_M: ray maps."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.losses.depth import LAMBDA_C
from geometry.losses.reduce import Components, confidence_weighted, l1


def ray_loss(
    rays: Float[Tensor, "B V h w 6"],
    target: Float[Tensor, "B V h w 6"],
    conf: Float[Tensor, "B V h w"] | None = None,
    *,
    lambda_c: float = LAMBDA_C,
    components: Components = "mean",
) -> Float[Tensor, ""]:
    """L_M = |M^ - M|_1, averaged over cells; every cell of a known camera has a ray, so there is no mask.

    Args:
        target: `rays_from_cameras` of the normalised cameras, at the ray grid's cell centres.
        conf: the ray head's confidence. The paper writes L_M without one, but the released head predicts
            it and its ray poses weigh by it, so it must have been trained: here as in L_D. None leaves it
            out.
        components: see `geometry.losses.reduce.l1`.

    Source: DA3 (arXiv:2511.10647) section 3.
    """
    error = l1(rays, target, components)
    if conf is not None:
        error = confidence_weighted(error, conf, lambda_c)
    return error.mean() if error.numel() else torch.zeros_like(rays).sum()

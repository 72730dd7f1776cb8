"""What counts as sky, and the depth it gets."""

import torch
from jaxtyping import Float
from torch import Tensor

SKY_THRESHOLD = 0.3  # predicted sky at and above it; source: the released DA3 network


def fill_sky(
    depth: Float[Tensor, "*views H W"], sky: Float[Tensor, "*views H W"]
) -> Float[Tensor, "*views H W"]:
    """Depth with sky pixels set to the 0.99 quantile of the rest, over all views together.

    Left alone where 10 or fewer pixels are sky, or 10 or fewer are not. The released code estimates the
    quantile from a random sample of 100 000 pixels; this is the exact one, and the same every time.

    Source: the released DA3 network.
    """
    ground = sky < SKY_THRESHOLD
    if ground.sum() <= 10 or (~ground).sum() <= 10:
        return depth
    return torch.where(ground, depth, quantile(depth[ground], 0.99))


def quantile(values: Float[Tensor, " n"], q: float) -> Float[Tensor, ""]:
    """Linear-interpolated quantile of any number of values (torch.quantile stops at 16 million)."""
    position = q * (values.numel() - 1)
    low = int(position)
    lower = values.kthvalue(low + 1).values
    upper = values.kthvalue(min(low + 2, values.numel())).values
    return lower + (upper - lower) * (position - low)

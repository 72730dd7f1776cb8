"""Rotary position embedding on the two image axes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rotary_tables(
    positions: Int[Tensor, "T 2"], head_dim: int, base: float = 100.0
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """Cosines and signed sines that rotate the channels of one attention head.

    The first half of the channels turns with the row, the second with the column. Within a half of
    width d, channel j pairs with channel j + d/2 and turns by ``position * base ** (-2 j / d)``. The
    sine of the first of a pair is negated here, so that applying the rotation is one multiply-add.

    Args:
        positions: (row, column) of each token.

    Source: Su et al., RoFormer (arXiv:2104.09864), on two axes as in CroCo v2 (arXiv:2211.10408).
    """
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
    angles = positions.float()[..., None] * base**-exponents  # [T, 2, half / 2]
    cos, sin = angles.cos(), angles.sin()
    cos = torch.cat((cos, cos), dim=-1).flatten(-2)
    sin = torch.cat((-sin, sin), dim=-1).flatten(-2)
    return cos, sin


def rotate(
    x: Float[Tensor, "*batch T D"], tables: tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]
) -> Float[Tensor, "*batch T D"]:
    """Rotate queries or keys by tables of `rotary_tables`."""
    cos, sin = (table.to(x.dtype) for table in tables)
    quarter = x.shape[-1] // 4
    swapped = x.unflatten(-1, (2, 2, quarter)).flip(-2).flatten(-3)  # partners change places
    return torch.addcmul(x * cos, swapped, sin)


def token_positions(
    grid: tuple[int, int], *, device: torch.device | None = None
) -> tuple[Int[Tensor, "T 2"], Int[Tensor, "T 2"]]:
    """(row, column) of every token of one view, for within-view and for cross-view attention.

    The special slot comes first, at (0, 0). Within a view the patches count from (1, 1). Across views
    every patch is at (1, 1): cross-view attention tells patches from camera tokens, and no more.

    Source: the released DA3 network.
    """
    h, w = grid
    rows, columns = torch.meshgrid(
        torch.arange(1, h + 1, device=device), torch.arange(1, w + 1, device=device), indexing="ij"
    )
    patches = torch.stack((rows, columns), dim=-1).flatten(0, 1)
    special = patches.new_zeros(1, 2)
    return torch.cat((special, patches)), torch.cat((special, torch.ones_like(patches)))

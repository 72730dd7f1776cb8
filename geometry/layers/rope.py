"""Rotary position embedding on the two image axes."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rotary_tables(
    positions: Int[Tensor, "T 2"], head_dim: int
) -> tuple[Float[Tensor, "T D"], Float[Tensor, "T D"]]:
    """Cosines and signed sines that rotate the channels of one attention head.

    The first half of the channels turns with the row, the second with the column. Within a half of
    width d, channel j pairs with channel j + d/2 and turns by ``position * 100 ** (-2 j / d)``. The
    sine of the first of a pair is negated here, so that applying the rotation is one multiply-add.

    Args:
        positions: (row, column) of each token.

    Source: Su et al., RoFormer (arXiv:2104.09864), on two axes as in CroCo v2 (arXiv:2211.10408).
    """
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
    angles = positions.float()[..., None] * 100.0**-exponents  # [T, 2, half / 2]
    cos, sin = angles.cos(), angles.sin()
    cos = torch.cat((cos, cos), dim=-1).flatten(-2)
    sin = torch.cat((-sin, sin), dim=-1).flatten(-2)
    return cos, sin


def rotate(
    x: Float[Tensor, "*batch T D"], tables: tuple[Float[Tensor, "#T D"], Float[Tensor, "#T D"]]
) -> Float[Tensor, "*batch T D"]:
    """Rotate queries or keys by tables of `rotary_tables`."""
    cos, sin = (table.to(x.dtype) for table in tables)
    quarter = x.shape[-1] // 4
    swapped = x.unflatten(-1, (2, 2, quarter)).flip(-2).flatten(-3)  # partners change places
    return torch.addcmul(x * cos, swapped, sin)


class Rotary(NamedTuple):
    """Rotation of the first S of every ``period`` tokens; the others stand still."""

    cos: Float[Tensor, "S D"]
    sin: Float[Tensor, "S D"]
    period: int


def rotate_tokens(x: Float[Tensor, "*batch L D"], rotary: Rotary) -> Float[Tensor, "*batch L D"]:
    """Rotate queries or keys of a sequence whose length is a multiple of the period.

    Where only some tokens turn and autograd does not record, ``x`` itself is changed: nothing is copied.
    """
    first = len(rotary.cos)
    if first == rotary.period == x.shape[-2]:
        return rotate(x, rotary[:2])
    views = x.unflatten(-2, (-1, rotary.period))
    turned = rotate(views[..., :first, :], rotary[:2])
    if not torch.is_grad_enabled():
        views[..., :first, :] = turned
        return x
    return torch.cat((turned, views[..., first:, :]), dim=-2).flatten(-3, -2)


def within_view(grid: tuple[int, int], head_dim: int, *, device: torch.device | None = None) -> Rotary:
    """Positions for attention within a view: patches count from (1, 1), the special slot is at (0, 0).

    Source: the released DA3 network.
    """
    h, w = grid
    rows, columns = torch.meshgrid(
        torch.arange(1, h + 1, device=device), torch.arange(1, w + 1, device=device), indexing="ij"
    )
    patches = torch.stack((rows, columns), dim=-1).flatten(0, 1)
    positions = torch.cat((patches.new_zeros(1, 2), patches))
    return Rotary(*rotary_tables(positions, head_dim), period=1 + h * w)


def across_views(grid: tuple[int, int], head_dim: int, *, device: torch.device | None = None) -> Rotary:
    """Positions for attention across views: it tells patches from camera tokens, and no more.

    The released network puts every patch at (1, 1) and every special slot at (0, 0). Attention sees
    differences of positions alone, so here patches are at (0, 0), where nothing turns, and the special
    slots at (-1, -1): the same numbers by turning one token per view.
    """
    h, w = grid
    special = torch.full((1, 2), -1, device=device)
    return Rotary(*rotary_tables(special, head_dim), period=1 + h * w)

"""Sinusoidal embedding of image-plane coordinates, added to feature maps of the dense heads."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def uv_axes(
    grid: tuple[int, int], aspect: float, *, device: torch.device | None = None
) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
    """Coordinates u of columns and v of rows; the half diagonal of the image of this aspect (W / H) is 1."""
    h, w = grid
    half_diagonal = (aspect**2 + 1) ** 0.5
    u_end = aspect / half_diagonal * (w - 1) / w
    v_end = 1 / half_diagonal * (h - 1) / h
    return (torch.linspace(-u_end, u_end, w, device=device), torch.linspace(-v_end, v_end, h, device=device))


def add_uv_embedding(x: Float[Tensor, "n D h w"], aspect: float) -> Float[Tensor, "n D h w"]:
    """Add 0.1 times sines and cosines of its coordinates to a feature map, in place.

    The first half of the channels carries u, the second v; each half holds sines, then cosines, at
    frequencies ``100 ** (-j / (D / 4))``.

    Source: the released DA3 network.
    """
    _, D, h, w = x.shape
    of_u, of_v = _waves((h, w), D, aspect, x.device, x.dtype)
    return x.add_(of_u).add_(of_v)


@lru_cache(maxsize=64)  # the same few for every view
def _waves(
    grid: tuple[int, int], D: int, aspect: float, device: torch.device, dtype: torch.dtype
) -> tuple[Float[Tensor, "D 1 w"], Float[Tensor, "D h 1"]]:
    """What u and v add, each zero in the other's channels; in memory channels last, as the heads' maps."""
    with torch.inference_mode(False), torch.no_grad():  # a table made in inference serves training too
        frequencies = 100.0 ** (-torch.arange(D // 4, device=device, dtype=torch.float64) / (D // 4))
        angles = (axis.double()[:, None] * frequencies for axis in uv_axes(grid, aspect, device=device))
        of_u, of_v = (
            0.1 * torch.cat((a.sin(), a.cos()), dim=-1).to(dtype) for a in angles
        )  # [w or h, D / 2]
        of_u, of_v = F.pad(of_u, (0, D // 2)), F.pad(of_v, (D // 2, 0))
        return of_u.T[:, None], of_v.T[..., None]

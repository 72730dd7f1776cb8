"""Sinusoidal embedding of image-plane coordinates, added to feature maps of the dense heads."""

import torch
from jaxtyping import Float
from torch import Tensor


def uv_axes(
    grid: tuple[int, int], aspect: float, *, device: torch.device | None = None
) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
    """Coordinates u of the columns and v of the rows; the image's half diagonal has length 1.

    Args:
        grid: (h, w) cells of the map.
        aspect: W / H of the input image (not of the map).
    """
    h, w = grid
    half_diagonal = (aspect**2 + 1) ** 0.5
    u_end = aspect / half_diagonal * (w - 1) / w
    v_end = 1 / half_diagonal * (h - 1) / h
    return (
        torch.linspace(-u_end, u_end, w, device=device),
        torch.linspace(-v_end, v_end, h, device=device),
    )


def add_uv_embedding(x: Float[Tensor, "n D h w"], aspect: float) -> Float[Tensor, "n D h w"]:
    """Add 0.1 times sines and cosines of its coordinates to a feature map, in place.

    The first half of the channels carries u, the second v; each half holds sines, then cosines, at
    frequencies ``100 ** (-j / (D / 4))``.

    Source: the released DA3 network.
    """
    _, D, h, w = x.shape
    frequencies = 100.0 ** (-torch.arange(D // 4, device=x.device, dtype=torch.float64) / (D // 4))
    halves = []
    for axis in uv_axes((h, w), aspect, device=x.device):
        angles = axis.double()[:, None] * frequencies  # [w or h, D/4]
        halves.append(0.1 * torch.cat((angles.sin(), angles.cos()), dim=-1).to(x.dtype))
    of_u, of_v = halves[0][None].expand(h, -1, -1), halves[1][:, None].expand(-1, w, -1)
    # Channels last in memory, as the heads' maps are: one pass adds it.
    return x.add_(torch.cat((of_u, of_v), dim=-1).movedim(-1, 0))

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
    """A feature map plus 0.1 times sines and cosines of its coordinates.

    The first half of the channels carries u, the second v; each half holds sines, then cosines, at
    frequencies ``100 ** (-j / (D / 4))``.

    Source: the released DA3 network.
    """
    n, D, h, w = x.shape
    quarter = D // 4
    u, v = uv_axes((h, w), aspect, device=x.device)
    frequencies = 100.0 ** (-torch.arange(quarter, device=x.device, dtype=torch.float64) / quarter)
    half = []
    for axis in (u, v):
        angles = frequencies[:, None] * axis.double()  # [D/4, w or h]
        half.append(0.1 * torch.cat((angles.sin(), angles.cos())).to(x.dtype))
    # Each half varies along one axis only, so two broadcast additions do it with no [D, h, w] table.
    upper = x[:, : 2 * quarter] + half[0][:, None, :]
    lower = x[:, 2 * quarter :] + half[1][:, :, None]
    return torch.cat((upper, lower), dim=1)

"""A learned gain per channel on each residual branch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Multiplies by ``gamma``; a small start lets a deep stack begin near the identity.

    Source: Touvron et al., Going deeper with image transformers (arXiv:2103.17239).
    """

    def __init__(self, width: int, init: float = 1.0) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), init))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        return x * self.gamma

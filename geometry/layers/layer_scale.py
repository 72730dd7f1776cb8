"""A learned gain per channel on each residual branch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Adds ``gamma * branch`` to the residual stream; small gammas let deep stacks begin near the identity.

    Source: Touvron et al., Going deeper with image transformers (arXiv:2103.17239).
    """

    def __init__(self, width: int, init: float = 1.0) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), init))

    def forward(
        self, branch: Float[Tensor, "*batch D"], residual: Float[Tensor, "*batch D"]
    ) -> Float[Tensor, "*batch D"]:
        return torch.addcmul(residual, branch, self.gamma)  # one pass over memory

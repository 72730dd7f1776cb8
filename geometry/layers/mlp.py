"""Feed-forward parts of a transformer block."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int | None = None, out: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 4 * width
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    """``w3(silu(a) * b)`` with (a, b) the halves of ``w12(x)``.

    The hidden width is two thirds of four times the width, rounded up to a multiple of 8, so that it has
    about the parameters of the plain MLP.

    Source: Shazeer, GLU variants improve transformer (arXiv:2002.05202); sizes as in DINOv2's giant.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)

"""Low-rank adaptation: a few trained numbers beside frozen linear layers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.errors import InputError


class LoraLinear(nn.Linear):
    """``x W^T + b + s (x A^T) B^T`` with W, b frozen, A [rank, i] random and B [o, rank] zero at first.

    A linear layer becomes one by changing its class, so the names of its own parameters stay.

    Source: Hu et al. (arXiv:2106.09685).
    """

    lora_a: nn.Parameter
    lora_b: nn.Parameter
    lora_scale: float

    def forward(self, x: Float[Tensor, "*batch i"], *, gelu: bool = False) -> Float[Tensor, "*batch o"]:
        """``gelu``: as the fast form of a linear layer has it."""
        added = F.linear(F.linear(x, self.lora_a), self.lora_b)
        x = F.linear(x, self.weight, self.bias) + self.lora_scale * added
        return F.gelu(x) if gelu else x


def add_lora(
    blocks: nn.Module, *, rank: int, scale: float = 1.0, layers: Sequence[str] = ("qkv", "proj")
) -> int:
    """Give the linear layers of these last names a low-rank part; returns how many they are.

    Raises:
        InputError: there are none, or the rank is below 1.
    """
    if rank < 1:
        raise InputError(f"lora.rank: expected at least 1, got {rank}")
    linear = {n: m for n, m in blocks.named_modules() if isinstance(m, nn.Linear)}
    chosen = [m for n, m in linear.items() if n.rpartition(".")[2] in layers]
    if not chosen:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise InputError(f"lora.layers: expected some of {', '.join(known)}, got {list(layers)}")
    for module in chosen:
        module.__class__ = LoraLinear
        module.lora_a = nn.Parameter(module.weight.new_empty(rank, module.in_features))
        module.lora_b = nn.Parameter(module.weight.new_zeros(module.out_features, rank))
        nn.init.kaiming_uniform_(module.lora_a, a=5**0.5)
        module.lora_scale = scale  # type: ignore[assignment]
    return len(chosen)


def has_lora(network: nn.Module) -> bool:
    return any(isinstance(module, LoraLinear) for module in network.modules())


@torch.no_grad()
def merged_lora(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network with low-rank parts as those of the plain one, the parts added in."""
    merged = dict(weights)
    for name, module in network.named_modules():
        if isinstance(module, LoraLinear):
            a, b = merged.pop(f"{name}.lora_a"), merged.pop(f"{name}.lora_b")
            merged[f"{name}.weight"] = merged[f"{name}.weight"] + module.lora_scale * (b @ a)
    return merged

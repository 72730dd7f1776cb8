"""Adam on tensors in named groups, each with a rate of its own at every step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

# Momentum moves on what a step does not show; what is first shown at step t moves by sqrt(t) rates,
# 1 / sqrt(1 - second) at most: with the usual (0.9, 0.999) hundreds of photos fall apart.
BETAS = 0.7, 0.95


class Adam:
    """`torch.optim.Adam` with ``fused=True``, to the bit, without its import of the compiler: 1.5 s.

    A tensor that a step gives no gradient stays as it is, and so do its moments.

    Args:
        groups: tensors that take gradients, by the names that `step` gives rates to.

    Source: Kingma and Ba 2015.
    """

    def __init__(self, groups: Mapping[str, Sequence[Tensor]]) -> None:
        self._groups = {name: [_Slot(tensor) for tensor in tensors] for name, tensors in groups.items()}

    @torch.no_grad()
    def step(self, rates: Mapping[str, float]) -> None:
        """Move every tensor that has a gradient, and clear that."""
        for name, slots in self._groups.items():
            moved = [slot for slot in slots if slot.tensor.grad is not None]
            if not moved:
                continue
            adam(
                [slot.tensor for slot in moved],
                [slot.tensor.grad for slot in moved],
                [slot.first for slot in moved],
                [slot.second for slot in moved],
                [],
                [slot.count for slot in moved],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rates[name],
                weight_decay=0.0,
                eps=1e-15,
                maximize=False,
            )
            for slot in moved:
                slot.tensor.grad = None


class _Slot:
    """A tensor with its moments and the steps it has made."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.first, self.second = torch.zeros_like(tensor), torch.zeros_like(tensor)
        self.count = torch.zeros((), device=tensor.device)

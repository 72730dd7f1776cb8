"""Exponential moving average of the trained weights."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of trainable parameters, in float32; frozen ones equal their own average.

    Early on the decay is ``(1 + n) / (10 + n)`` after n updates, when that is less: the random start
    would otherwise stay in the average for about ``1 / (1 - decay)`` steps.

    Args:
        parameters: trainable parameters by name (sharded ones are averaged shard by shard).
        decay: share of the old average kept in each step.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {k: p.detach().clone().float() for k, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average; call once after each optimizer step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, parameter in self.parameters.items():
            self.average[name].lerp_(parameter.detach().float(), 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model for a block, then the trained weights back, bit for bit."""
        kept = {k: p.detach().clone() for k, p in self.parameters.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])

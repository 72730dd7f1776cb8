"""The training step, which the engine calls: the only place that knows the task."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from geometry.engine.optimizer import ParameterGroup


@dataclass(frozen=True, kw_only=True)
class ValidationRun:
    """What a step is given for a validation.

    A step may score the share ``items[rank::world_size]``. Under FSDP all processes must call the model
    equally often, whatever the number of items.
    """

    step: int  # updates done so far
    generator: torch.Generator  # on the training device; each validation draws the same numbers
    device: torch.device
    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What a validation gives."""

    metrics: dict[str, float]  # means over the items that this process scored
    weight: float | dict[str, float] = 1.0  # how many items that were, by metric where the numbers differ
    images: dict[str, Tensor] = field(default_factory=dict)  # [3, H, W] in 0..1; the first process's are kept


@runtime_checkable
class TrainingStep(Protocol):
    """A model with its losses and its validation; it keeps no state of its own from step to step.

    ``fit`` freezes every parameter that `trainable_parameters` does not name, moves the step to the
    device, and wraps it for DDP or FSDP by itself: a step calls ``self.model`` and its methods as on one
    process. Optional methods are used where a step has them:

    - ``blocks()``: the model's repeated modules: units of activation checkpointing, compilation, FSDP;
    - ``heads()``: more modules whose activations are recomputed, part by part where they have a switch
      ``recompute``. They may step out of autocast, and need not be called equally often by all processes;
    - ``count_items(batch)``: what the throughput counts, such as ``{"images": 24}``; else samples;
    - ``begin_step(index, steps)``: called before each step, for losses that change during the run. A counter
      of the step's own would start at zero when the run resumes;
    - ``to(device)``: where a step owns more than its model.
    """

    model: nn.Module
    """All that is trained or kept in checkpoints. Several models go into one `nn.ModuleDict`. ``fit``
    calls ``model.train()``; a model whose frozen part must stay in eval mode overrides ``train``."""

    def trainable_parameters(self) -> list[ParameterGroup]:
        """What is trained and how fast; see `geometry.engine.optimizer.parameter_groups`."""

    def training_loss(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss (a mean over the batch) and its terms by name, for the log.

        ``generator`` is on the training device and seeded by (seed, step, part of the batch); draw
        from it, not from the global one. Randomness that must not depend on how a batch is cut
        into parts belongs into the dataset, from ``request.seed``.
        """

    def validate(self, run: ValidationRun) -> Validation:
        """Score the model; called without gradients, in eval mode, with the EMA weights if there are any."""


def blocks_of(step: TrainingStep) -> list[nn.Module]:
    """The step's ``blocks()``; empty if it has none."""
    return list(step.blocks()) if hasattr(step, "blocks") else []

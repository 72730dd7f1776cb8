"""What the training steps of all geometry networks share."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.training.validation import ValidationSet, validate
from geometry.views import Example


@dataclass(eq=False)
class GeometryStep:
    """A network, its objective and its validation; subclasses give ``training_loss`` and `score`."""

    model: Any  # the network
    objective: Any  # of `geometry.losses.objective`: the terms and their weights
    _: KW_ONLY
    # Factor on the optimizer's rate by prefix of parameter names, "" for the rest; 0 freezes.
    learning_rates: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    # Sets to score, by name; the first one's metrics carry no prefix.
    validation: Mapping[str, ValidationSet] | None = None
    previews: int = 1  # pictures per validation set

    def trainable_parameters(self) -> list[ParameterGroup]:
        return parameter_groups(self.model, self.learning_rates)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.backbone.blocks)

    def count_items(self, batch: Example) -> dict[str, float]:
        """Images and image tokens, for the throughput."""
        (B, V, _, H, W), patch = batch.views.images.shape, self.model.backbone.patch
        return {"images": B * V, "tokens": B * V * (H // patch) * (W // patch)}

    def validate(self, run: ValidationRun) -> Validation:
        return validate(self.validation or {}, self.score, run, previews=self.previews)

    def score(self, batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        raise NotImplementedError


def exact(batch: Example) -> torch.autocast:
    """For cameras, losses and metrics, which need float32: the engine's autocast is for the network."""
    return torch.autocast(batch.views.images.device.type, enabled=False)

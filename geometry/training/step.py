"""What the training steps of all geometry networks share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.layers.lora import has_lora
from geometry.training.validation import ValidationSet, validate
from geometry.views import Example


@dataclass(eq=False)
class GeometryStep(ABC):
    """A network, its objective and its validation; subclasses give ``training_loss`` and `score`."""

    model: Any  # the network
    objective: Any  # of `geometry.losses.objective`: the terms and their weights
    _: KW_ONLY
    # Factor on the optimizer's rate by prefix of parameter names, "" for the rest; 0 freezes.
    learning_rates: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    # Sets to score, by name; the first one's metrics carry no prefix.
    validation: Mapping[str, ValidationSet] | None = None
    previews: int = 1  # pictures per validation set
    chunk: int | None = None  # views that the dense head takes at a time in training; None: all of a part
    # Block i of n gets this to the power of n - 1 - i on its rate, what lies before the blocks that of n.
    layer_decay: float = 1.0

    def trainable_parameters(self) -> list[ParameterGroup]:
        decay = (
            {} if self.layer_decay == 1 else {"layers": "backbone.blocks", "layer_decay": self.layer_decay}
        )
        groups = parameter_groups(self.model, self.learning_rates, **decay)  # type: ignore[arg-type]
        if not has_lora(self.model):
            return groups
        return [
            replace(group, parameters={n: p for n, p in group.parameters.items() if _stays_with_lora(n)})
            for group in groups
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.backbone.blocks)

    def heads(self) -> Sequence[nn.Module]:
        return [self.model.depth_head]

    def views_at_once(self, batch: Example) -> int:
        """For the dense head."""
        B, V = batch.views.images.shape[:2]
        return self.chunk or B * V

    def count_items(self, batch: Example) -> dict[str, float]:
        """Images and image tokens, for the throughput."""
        (B, V, _, H, W), patch = batch.views.images.shape, self.model.backbone.patch
        return {"images": B * V, "tokens": B * V * (H // patch) * (W // patch)}

    def validate(self, run: ValidationRun) -> Validation:
        return validate(self.validation or {}, self.score, run, previews=self.previews)

    @abstractmethod
    def score(self, batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Metrics of a batch by name, and pictures of it if wanted."""


def _stays_with_lora(name: str) -> bool:
    """Whether a parameter is trained beside low-rank parts: of the backbone they alone are."""
    return not name.startswith("backbone.") or ".lora_" in name


def exact(batch: Example) -> torch.autocast:
    """For cameras, losses and metrics, which need float32: the engine's autocast is for the network."""
    return torch.autocast(batch.views.images.device.type, enabled=False)

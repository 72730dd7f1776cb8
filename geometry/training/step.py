"""What the training steps of all geometry networks share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.losses.objective import Objective
from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.training.validation import ValidationSet, validate
from geometry.views import Example


class GeometryStep:
    """A network, its objective and its validation; subclasses give ``training_loss`` and `score`.

    Args:
        model: the network.
        objective: the terms and their weights.
        learning_rates: factor on the optimizer's rate by prefix of parameter names, "" for the rest; 0
            freezes.
        validation: sets to score, by name; the first one's metrics carry no prefix.
        previews: pictures per validation set.
    """

    def __init__(
        self,
        model: DepthAnything3 | MonocularDepth,
        objective: Objective,
        *,
        learning_rates: Mapping[str, float] | None = None,
        validation: Mapping[str, ValidationSet] | None = None,
        previews: int = 1,
    ) -> None:
        self.model, self.objective = model, objective
        self.learning_rates = dict(learning_rates or {"": 1.0})
        self.validation = dict(validation or {})
        self.previews = previews

    def trainable_parameters(self) -> list[ParameterGroup]:
        return parameter_groups(self.model, self.learning_rates)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.backbone.blocks)

    def count_items(self, batch: Example) -> dict[str, float]:
        """Images and image tokens, for the throughput."""
        (B, V, _, H, W), patch = batch.views.images.shape, self.model.backbone.patch
        return {"images": B * V, "tokens": B * V * (H // patch) * (W // patch)}

    def validate(self, run: ValidationRun) -> Validation:
        return validate(self.validation, self.score, run, previews=self.previews)

    def score(self, batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        raise NotImplementedError


def exact(batch: Example) -> torch.autocast:
    """For cameras, losses and metrics, which need float32: the engine's autocast is for the network."""
    return torch.autocast(batch.views.images.device.type, enabled=False)

"""Training steps of the networks that see one view at a time: teacher, monocular student, metric model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.losses.objective import MetricObjective, RelativeDepthObjective
from geometry.metrics.depth import Alignment
from geometry.models.da3 import MonocularDepth
from geometry.models.teacher import TeacherDepth
from geometry.ops.metric import metric_depth
from geometry.prediction import Geometry
from geometry.training.scores import score_monocular
from geometry.training.student import count_images
from geometry.training.validation import ValidationSet, validate
from geometry.views import Example


class _MonocularStep:
    """What the monocular steps share; arguments as of `geometry.training.student.StudentStep`."""

    alignment: Alignment = "scale_shift"

    def __init__(
        self,
        model: MonocularDepth,
        *,
        learning_rates: Mapping[str, float] | None = None,
        validation: Mapping[str, ValidationSet] | None = None,
        previews: int = 1,
    ) -> None:
        self.model = model
        self.learning_rates = dict(learning_rates or {"": 1.0})
        self.validation = dict(validation or {})
        self.previews = previews

    def trainable_parameters(self) -> list[ParameterGroup]:
        return parameter_groups(self.model, self.learning_rates)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.backbone.blocks)

    def count_items(self, batch: Example) -> dict[str, float]:
        return count_images(batch, self.model.backbone.patch)

    def validate(self, run: ValidationRun) -> Validation:
        def score(batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
            geometry = self.predict(batch)
            with torch.autocast(batch.views.images.device.type, enabled=False):
                return score_monocular(geometry, batch, alignment=self.alignment, pictures=pictures)

        return validate(self.validation, score, run, previews=self.previews)

    def predict(self, batch: Example) -> Geometry:
        """What is scored."""
        return self.model(batch.views, sky_fill=False)


class RelativeDepthStep(_MonocularStep):
    """L_T = 0.5 L_grad + L_gl + L_N + L_sky + L_obj: the teacher, and the monocular student.

    A network that predicts a mask of objects (`TeacherDepth`) is trained on it where the samples carry one.
    The monocular student is trained the same way on the teacher's labels.

    Source: DA3 (arXiv:2511.10647) sections 4.1 and 4.3.
    """

    def __init__(self, model: MonocularDepth, objective: RelativeDepthObjective, **shared: Any) -> None:
        super().__init__(model, **shared)
        self.objective = objective

    def training_loss(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        B, V = batch.views.images.shape[:2]
        objects = None
        if isinstance(self.model, TeacherDepth):
            geometry, objects = self.model.forward_masks(batch.views)
        else:
            geometry = self.model(batch.views, chunk=B * V, sky_fill=False)
        with torch.autocast(batch.views.images.device.type, enabled=False):
            terms = self.objective(geometry, batch.truth, generator, objects)
            return self.objective.total(terms), terms


class MetricStep(_MonocularStep):
    """L = L_D + L_grad + L_sky on depth of the canonical focal length: the metric model.

    Validation scores metres, unaligned.

    Source: DA3 (arXiv:2511.10647) section 4.4.
    """

    alignment: Alignment = "none"

    def __init__(self, model: MonocularDepth, objective: MetricObjective, **shared: Any) -> None:
        super().__init__(model, **shared)
        self.objective = objective

    def training_loss(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        B, V = batch.views.images.shape[:2]
        geometry = self.model(batch.views, chunk=B * V, sky_fill=False)
        with torch.autocast(batch.views.images.device.type, enabled=False):
            terms = self.objective(geometry, batch.truth)
            return self.objective.total(terms), terms

    def predict(self, batch: Example) -> Geometry:
        geometry = super().predict(batch)
        with torch.autocast(batch.views.images.device.type, enabled=False):
            return replace(geometry, depth=metric_depth(geometry.depth, batch.truth.cameras.intrinsics))

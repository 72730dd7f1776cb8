"""Training steps of the networks that see one view at a time: teacher, monocular student, metric model."""

from dataclasses import replace

import torch
from torch import Tensor

from geometry.metrics.depth import Alignment
from geometry.models.teacher import TeacherDepth
from geometry.ops.metric import metric_depth
from geometry.prediction import Geometry
from geometry.training.scores import score_monocular
from geometry.training.step import GeometryStep, exact
from geometry.views import Example


class RelativeDepthStep(GeometryStep):
    """L_T = 0.5 L_grad + L_gl + L_N + L_sky + L_obj: the teacher, and the monocular student.

    A network that predicts a mask of objects (`TeacherDepth`) is trained on it where the samples carry one.
    The monocular student is trained the same way on the teacher's labels.

    Source: DA3 (arXiv:2511.10647) sections 4.1 and 4.3.
    """

    alignment: Alignment = "scale_shift"

    def training_loss(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        objects, chunk = None, self.views_at_once(batch)
        if isinstance(self.model, TeacherDepth):
            geometry, objects = self.model.forward_masks(batch.views, chunk)
        else:
            geometry = self.model(batch.views, chunk=chunk, sky_fill=False)
        with exact(batch):
            terms = self.terms(geometry, batch, generator, objects)
            return self.objective.total(terms), terms

    def terms(
        self, geometry: Geometry, batch: Example, generator: torch.Generator, objects: Tensor | None
    ) -> dict[str, Tensor]:
        return self.objective(geometry, batch.truth, generator, objects)

    def score(self, batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        geometry = self.model(batch.views, sky_fill=False)
        with exact(batch):
            return score_monocular(
                self.scored(geometry, batch), batch, alignment=self.alignment, pictures=pictures
            )

    def scored(self, geometry: Geometry, batch: Example) -> Geometry:
        return geometry


class MetricStep(RelativeDepthStep):
    """L = L_D + L_grad + L_sky on depth of the canonical focal length: the metric model.

    Validation scores metres, unaligned.

    Source: DA3 (arXiv:2511.10647) section 4.4.
    """

    alignment: Alignment = "none"

    def terms(
        self, geometry: Geometry, batch: Example, generator: torch.Generator, objects: Tensor | None
    ) -> dict[str, Tensor]:
        return self.objective(geometry, batch.truth)

    def scored(self, geometry: Geometry, batch: Example) -> Geometry:
        return replace(geometry, depth=metric_depth(geometry.depth, batch.truth.cameras.intrinsics))

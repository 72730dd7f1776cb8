"""The any-view model's training step: what the network is given, what it predicts, and the loss."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.errors import InputError
from geometry.losses.objective import AnyViewObjective
from geometry.models.da3 import DepthAnything3
from geometry.ops.scale import normalise_truth
from geometry.predict import condition
from geometry.training.matching import AttentionMatching, MatchingSettings
from geometry.training.sampling import Reference, draw_conditioned, draw_reference
from geometry.training.scores import PoseSource, score_any_view
from geometry.training.validation import ValidationSet, validate
from geometry.views import Example


class StudentStep:
    """L = L_D + L_M + L_P + beta L_C + alpha L_grad + gamma L_A on samples in one frame and at one scale.

    One step, top to bottom: draw which samples see their cameras and which view is the reference; express
    the truth in that view's frame and divide it by the mean distance of its points; run the network, told
    the reference, and the cameras where they are shown; add up the terms.

    Args:
        model: the network.
        objective: the terms and their weights.
        pose_probability: share of samples that see their cameras; 0 switches pose conditioning off, and the
            camera encoder is then not trained.
        reference: how the reference view is drawn.
        learning_rates: factor on the optimizer's rate by prefix of parameter names, "" for the rest; 0
            freezes.
        validation: sets to score, by name; the first one's metrics carry no prefix.
        pose_source: which of the network's two camera estimates ``auc30`` scores; an ablation without one
            of the targets must take the other.
        previews: pictures per validation set.
        matching: which attention the term ``matching`` teaches.
        dense_share: share of a batch's samples, at least one, whose depth and rays are decoded and trained;
            the others train cameras and matching alone. The dense heads cost as much as the backbone, and
            cameras want more samples than depth does.

    Source: DA3 (arXiv:2511.10647) section 3.
    """

    def __init__(
        self,
        model: DepthAnything3,
        objective: AnyViewObjective,
        *,
        pose_probability: float = 0.2,
        reference: Reference = "random",
        learning_rates: Mapping[str, float] | None = None,
        validation: Mapping[str, ValidationSet] | None = None,
        pose_source: PoseSource = "decoder",
        previews: int = 1,
        matching: MatchingSettings | None = None,
        dense_share: float = 1.0,
    ) -> None:
        if not 0 < dense_share <= 1:
            raise InputError(f"step.dense_share: expected more than 0 and at most 1, got {dense_share}")
        self.model = model
        self.objective = objective
        self.pose_probability = pose_probability
        self.reference = reference
        self.learning_rates = dict(learning_rates or {"": 1.0})
        self.validation = dict(validation or {})
        self.pose_source = pose_source
        self.previews = previews
        self.dense_share = dense_share
        self.matching = None
        if objective.on("matching"):
            self.matching = AttentionMatching(model.backbone, matching or MatchingSettings())

    def trainable_parameters(self) -> list[ParameterGroup]:
        rates = dict(self.learning_rates)
        if self.pose_probability == 0:
            rates["camera_encoder"] = 0.0
        return parameter_groups(self.model, rates)

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.backbone.blocks)

    def count_items(self, batch: Example) -> dict[str, float]:
        return count_images(batch, self.model.backbone.patch)

    def training_loss(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        B, V = batch.views.images.shape[:2]
        device = batch.views.images.device
        conditioned = draw_conditioned(B, self.pose_probability, generator=generator).to(device)
        reference = draw_reference(B, V, conditioned, self.reference, generator=generator).to(device)
        given = None
        with torch.autocast(device.type, enabled=False):  # cameras need float32
            truth, _ = normalise_truth(batch.truth, reference)
            if self.pose_probability > 0:
                # Encoded for all samples and used for some: every step then has the same parameters in its
                # graph, which DDP and FSDP want.
                given, _ = condition(batch.truth.cameras)
        options = {} if self.dense_share == 1 else {"dense": max(1, round(self.dense_share * B))}
        with self.matching.recorded() if self.matching else nullcontext() as attention:
            geometry = self.model(
                replace(batch.views, cameras=given),
                conditioned=conditioned,
                reference=reference,
                chunk=B * V,
                **options,
            )
        with torch.autocast(device.type, enabled=False):
            terms = self.objective(geometry, truth)
            shown = {}
            if self.matching:
                terms["matching"], shown["match_accuracy"] = self.matching.loss(attention, truth, generator)
            return self.objective.total(terms), terms | shown

    def validate(self, run: ValidationRun) -> Validation:
        def score(batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
            return score_any_view(
                self.model,
                batch,
                pose_source=self.pose_source,
                rays=self.objective.on("ray"),
                pictures=pictures,
            )

        return validate(self.validation, score, run, previews=self.previews)


def count_images(batch: Example, patch: int) -> dict[str, float]:
    """Images and image tokens of a batch, for the throughput."""
    B, V, _, H, W = batch.views.images.shape
    return {"images": B * V, "tokens": B * V * (H // patch) * (W // patch)}

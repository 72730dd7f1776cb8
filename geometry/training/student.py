"""The any-view model's training step: what the network is given, what it predicts, and the loss."""

from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from geometry.errors import InputError
from geometry.losses.objective import AnyViewObjective
from geometry.models.da3 import DepthAnything3
from geometry.ops.scale import normalise_truth
from geometry.predict import condition
from geometry.training.matching import AttentionMatching, MatchingSettings
from geometry.training.scores import PoseSource, score_any_view
from geometry.training.step import GeometryStep, exact
from geometry.views import Example

Reference = Literal["random", "first"]


@dataclass(eq=False)
class StudentStep(GeometryStep):
    """L = L_D + L_M + L_P + beta L_C + alpha L_grad + gamma L_A on samples in one frame and at one scale.

    One step, top to bottom: draw which samples see their cameras and which view is the reference; express
    the truth in that view's frame and divide it by the mean distance of its points; run the network, told
    the reference, and the cameras where they are shown; add up the terms.

    Source: DA3 (arXiv:2511.10647) section 3.
    """

    model: DepthAnything3
    objective: AnyViewObjective
    _: KW_ONLY
    pose_probability: float = 0.2  # share of samples that see their cameras; 0: no conditioning, and the
    # camera encoder is then not trained
    # Share of those samples that see only some of them, the first view's always: in the others' place are
    # learned tokens, as `geometry.predict.place_views` has it for captures with cameras for some photos.
    partly_posed: float = 0.0
    reference: Reference = "random"  # how the reference view is drawn
    pose_source: PoseSource = "decoder"  # which of the network's two camera estimates ``auc30`` scores; an
    # ablation without one of the targets must take the other
    matching: MatchingSettings | None = None  # which attention the term ``matching`` teaches
    # Share of a batch's samples, at least one, whose depth and rays are decoded and trained; the others train
    # cameras and matching alone. The dense heads cost as much as the backbone, and cameras want more samples.
    dense_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.dense_share <= 1:
            raise InputError(f"step.dense_share: expected more than 0 and at most 1, got {self.dense_share}")
        if self.pose_probability == 0:
            self.learning_rates = {**self.learning_rates, "camera_encoder": 0.0}
        self.attention = None
        if self.objective.on("matching"):
            self.attention = AttentionMatching(self.model.backbone, self.matching or MatchingSettings())

    def training_loss(self, batch: Example, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        B, V = batch.views.images.shape[:2]
        device = batch.views.images.device
        conditioned = draw_conditioned(B, self.pose_probability, generator=generator).to(device)
        reference = draw_reference(B, V, conditioned, self.reference, generator=generator).to(device)
        given, known = None, draw_known(conditioned, V, self.partly_posed, generator=generator)
        with exact(batch):
            truth, _ = normalise_truth(batch.truth, reference)
            if self.pose_probability > 0:
                # Encoded for all samples and used for some: every step then has the same parameters in its
                # graph, which DDP and FSDP want.
                given, _ = condition(batch.truth.cameras)
        options = {} if self.dense_share == 1 else {"dense": max(1, round(self.dense_share * B))}
        with self.attention.recorded() if self.attention else nullcontext() as seen:
            geometry = self.model(
                replace(batch.views, cameras=given, known=known),
                reference=reference,
                chunk=self.views_at_once(batch),
                **options,
            )
        with exact(batch):
            terms = self.objective(geometry, truth)
            shown = {}
            if self.attention:
                terms["matching"], shown["match_accuracy"] = self.attention.loss(seen, truth, generator)
            return self.objective.total(terms), terms | shown

    def score(self, batch: Example, pictures: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        rays = self.objective.on("ray")
        return score_any_view(self.model, batch, pose_source=self.pose_source, rays=rays, pictures=pictures)


def draw_conditioned(
    samples: int, probability: float, *, generator: torch.Generator
) -> Bool[Tensor, " samples"]:
    """Which samples see their cameras: each on its own with this probability.

    Source: DA3 (arXiv:2511.10647), pose conditioning with probability 0.2.
    """
    return torch.rand(samples, generator=generator, device=generator.device) < probability


def draw_known(
    conditioned: Bool[Tensor, " samples"], views: int, partly: float, *, generator: torch.Generator
) -> Bool[Tensor, "samples views"]:
    """Which views' cameras the network sees: all of a conditioned sample's, or in a share of them each one
    with probability 1/2, and the first."""
    known = conditioned[:, None].expand(-1, views)
    if partly == 0:
        return known
    draws = torch.rand(len(known), views + 1, generator=generator, device=generator.device).to(known.device)
    some, whole = draws[:, 1:] < 0.5, draws[:, :1] >= partly
    first = torch.arange(views, device=known.device) == 0
    return known & (some | whole | first)


def draw_reference(
    samples: int,
    views: int,
    conditioned: Bool[Tensor, " samples"],
    kind: Reference,
    *,
    generator: torch.Generator,
) -> Int[Tensor, " samples"]:
    """Index of each sample's reference view, whose camera is the world of its truth.

    How the paper's training chose it is not stated. Ours: at random, so that no place in the list of views is
    special. With given cameras it is view 0, because those are handed over in view 0's frame
    (`geometry.predict.condition`) and the network answers in the frame of what it was given.
    """
    if kind == "random":
        drawn = torch.randint(views, (samples,), generator=generator, device=generator.device)
    elif kind == "first":
        drawn = torch.zeros(samples, dtype=torch.long, device=generator.device)
    else:
        raise InputError(f"reference must be random or first, got {kind!r}")
    return torch.where(conditioned, 0, drawn)

"""The rules that divide a scene into context and targets; every unstated choice of them is a field."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.ops import se3
from geometry.options import named, require_one_of
from geometry.scenes.view_selection import farthest_point_sampling, pose_distances

STARTS = ("centre", "first", "last")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Targets: photos ``offset``, ``offset + every``, ... in natural order. Context: of the rest, sampled.

    Source: DA3 (arXiv:2511.10647) Table 5 says one of every 8 and 12 views by farthest-point sampling over
    translation and rotation. Start, weights and offset are ours.
    """

    every: int = 8
    offset: int = 0
    context: int = 12
    start: str = "centre"  # view nearest the mean camera centre; or the first or last in order
    translation: float = 1.0  # weight of centre distance over the largest one
    rotation: float = 1.0  # weight of the angle over pi

    def __post_init__(self) -> None:
        if self.every < 2 or not 0 <= self.offset < self.every or self.context < 1:
            raise InputError(
                f"rule: expected every >= 2, 0 <= offset < every and context >= 1, got every {self.every}, "
                f"offset {self.offset}, context {self.context}"
            )
        require_one_of("rule.start", self.start, STARTS)
        if min(self.translation, self.rotation) < 0 or self.translation + self.rotation == 0:
            raise InputError(
                f"rule: expected weights >= 0, not both 0, got translation {self.translation}, rotation "
                f"{self.rotation}"
            )

    def as_json(self) -> dict[str, object]:
        """The fields, and in words what does not vary."""
        return asdict(self) | {
            "order": "natural order of file names, numbers as numbers",
            "distance": "translation * |dc| / (largest |dc| among candidates) + rotation * angle / pi",
            "selection": "farthest-point sampling; ties to the lower index; context listed in order",
        }


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Geometry's: photos that a method sees at once, without targets; all, or ``limit`` of them drawn.

    Source: DA3's released evaluation, with its draws: Python's generator shuffles, the first ``limit`` are
    taken in natural order, and the reference view, ``first`` in that order, goes in front.
    """

    limit: int | None = 100
    seed: int = 42
    first: int = 0
    cameras: bool = True  # every photo must have one

    def __post_init__(self) -> None:
        if (self.limit is not None and self.limit < 1) or self.first < 0:
            raise InputError(
                f"sample: expected limit >= 1 (or null) and first >= 0, got limit {self.limit}, first "
                f"{self.first}"
            )

    @property
    def context(self) -> int | None:
        """How many photos are wanted; None: all."""
        return None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """View synthesis inside a stretch of a video: context and then targets evenly spread over its frames.

    ``length`` frames from ``start`` on, fewer where there are no more. The context has both ends of the
    stretch; targets are, of the others, those nearest the middles of as many equal parts.
    """

    start: int = 0
    length: int = 100
    context: int = 12
    targets: int = 8

    def __post_init__(self) -> None:
        if self.start < 0 or self.context < 2 or self.targets < 1:
            raise InputError(
                f"rule: expected start >= 0, context >= 2 and targets >= 1, got start {self.start}, context "
                f"{self.context}, targets {self.targets}"
            )

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"order": "natural order of file names", "selection": "evenly spread"}


AnyRule = Rule | Sample | Stretch


def rule_of(stated: Mapping[str, Any]) -> AnyRule:
    """The rule that a config or a split states, known by its own words."""
    kinds = {"every": Rule, "limit": Sample, "length": Stretch}
    return named(next(kind for word, kind in kinds.items() if word in stated), stated)


def divide(
    extrinsics: Float[np.ndarray, "V 4 4"] | Sequence[None], rule: AnyRule
) -> tuple[list[int], list[int]]:
    """Indices (context, targets) of views in natural order; all candidates where the rule wants more.

    Args:
        extrinsics: world-to-camera; a `Sample` only counts them.
    """
    total = len(extrinsics)
    if isinstance(rule, Sample):
        drawn = list(range(total))
        if rule.limit is not None and total > rule.limit:
            random.Random(rule.seed).shuffle(drawn)
            drawn = sorted(drawn[: rule.limit])
        if rule.first < len(drawn):
            drawn.insert(0, drawn.pop(rule.first))
        return drawn, []
    if isinstance(rule, Stretch):
        shown = list(range(rule.start, min(total, rule.start + rule.length)))
        if len(shown) < rule.context + rule.targets:
            raise InputError(
                f"expected {rule.context} context and {rule.targets} target photos from number {rule.start} "
                f"on, got {len(shown)}"
            )
        context = [shown[i] for i in np.linspace(0, len(shown) - 1, rule.context).round().astype(int)]
        rest = sorted(set(shown) - set(context))
        middles = (np.arange(rule.targets) + 0.5) * len(rest) / rule.targets
        return context, [rest[int(i)] for i in middles]
    targets = list(range(rule.offset, total, rule.every))
    candidates = [i for i in range(total) if i % rule.every != rule.offset]
    if not targets or not candidates:
        raise InputError(f"expected photos for a target and a context view, got {total}")
    extrinsics = np.asarray(extrinsics, np.float64)
    if (rule.start, rule.translation, rule.rotation) == ("centre", 1.0, 1.0):
        return sorted(farthest_point_sampling(extrinsics, rule.context, candidates)), targets
    return sorted(_varied_sampling(extrinsics, rule, candidates)), targets


def _varied_sampling(extrinsics: np.ndarray, rule: Rule, candidates: list[int]) -> list[int]:
    """Farthest-point sampling under another start or other weights, for measuring their effect."""
    poses = extrinsics[candidates]
    shift_only = poses.copy()  # the same centres without their rotations
    centres = se3.centres(torch.from_numpy(poses)).numpy()
    shift_only[:, :3, :3], shift_only[:, :3, 3] = np.eye(3), -centres
    shift = pose_distances(shift_only)
    distances = rule.translation * shift + rule.rotation * (pose_distances(poses) - shift)
    centre = int(np.argmin(np.linalg.norm(centres - centres.mean(axis=0), axis=1)))
    chosen = [{"centre": centre, "first": 0, "last": len(candidates) - 1}[rule.start]]
    nearest = distances[chosen[0]].copy()
    while len(chosen) < min(rule.context, len(candidates)):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return [candidates[i] for i in chosen]

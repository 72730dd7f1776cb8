"""The rule that divides a scene into context and targets; every unstated choice of it is a field."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.ops import se3
from geometry.options import require_one_of
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


def divide(extrinsics: Float[np.ndarray, "V 4 4"], rule: Rule) -> tuple[list[int], list[int]]:
    """Indices (context, targets) of views in natural order; all candidates where the rule wants more."""
    total = len(extrinsics)
    targets = list(range(rule.offset, total, rule.every))
    candidates = [i for i in range(total) if i % rule.every != rule.offset]
    if not targets or not candidates:
        raise InputError(f"expected photos for a target and a context view, got {total}")
    if (rule.start, rule.translation, rule.rotation) == ("centre", 1.0, 1.0):
        return sorted(farthest_point_sampling(extrinsics, rule.context, candidates)), targets
    return sorted(_varied_sampling(np.asarray(extrinsics, np.float64), rule, candidates)), targets


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

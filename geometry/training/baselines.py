"""The scores of guessing: what a run has to exceed before its numbers mean anything."""

from collections.abc import Mapping

import torch

from geometry.prediction import Geometry
from geometry.training.scores import pose_scores, scene_depth_scores
from geometry.training.validation import ValidationSet
from geometry.views import Example


def chance_scores(sets: Mapping[str, ValidationSet]) -> dict[str, float]:
    """`score_any_view`'s metrics of guesses that have not seen a sample's photos.

    The depth guessed is one number everywhere. The cameras guessed are those of each other sample of the
    set, averaged over these guesses: they know how cameras tend to move in this set, which random rotations
    would not. They are left out where samples differ in their number of views. Names are as in
    `geometry.training.validation.validate`.
    """
    metrics: dict[str, float] = {}
    for place, (name, samples) in enumerate(sets.items()):
        prefix = "" if place == 0 else f"{name}_"
        found = _guess([samples[index] for index in range(samples.samples)])
        metrics |= {f"{prefix}{key}": value for key, value in found.items()}
    return metrics


def _guess(examples: list[Example]) -> dict[str, float]:
    metrics = _mean([scene_depth_scores(_flat(e), e.truth) for e in examples])
    metrics["absrel_unposed"] = metrics["absrel"]
    poses = [pose for e in examples for pose in e.truth.cameras.extrinsics]
    views = {len(pose) for pose in poses}
    if len(poses) > 1 and len(views) == 1 and views != {1}:
        every = torch.stack(poses)
        others = ~torch.eye(len(every), dtype=torch.bool, device=every.device)
        metrics |= _mean(
            [pose_scores(every[i].expand(every[o].shape), every[o]) for i, o in enumerate(others)]
        )
    return metrics


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(s[key] for s in scores) / len(scores) for key in scores[0]}


def _flat(example: Example) -> Geometry:
    return Geometry(depth=torch.ones_like(example.truth.depth))

"""What guessing scores: the bar that a run must clear before its numbers mean anything."""

from collections.abc import Mapping
from itertools import permutations

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
    depth = [scene_depth_scores(_flat(e), e.truth) for e in examples]
    metrics = {key: sum(d[key] for d in depth) / len(depth) for key in ("absrel", "delta1")}
    metrics["absrel_unposed"] = metrics["absrel"]
    cameras = [e.truth.cameras for e in examples]
    views = {c.extrinsics.shape[1] for c in cameras}
    if len(examples) > 1 and len(views) == 1 and views != {1}:
        auc = [pose_scores(cameras[i], cameras[j]) for i, j in permutations(range(len(cameras)), 2)]
        metrics |= {f"auc{at}": sum(a[at] for a in auc) / len(auc) for at in auc[0]}
    return metrics


def _flat(example: Example) -> Geometry:
    return Geometry(depth=torch.ones_like(example.truth.depth))

"""The scores of guessing: what a run has to exceed before its numbers mean anything."""

from collections.abc import Mapping

import torch

from geometry.engine.distributed import weighted_means
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
    flat = [Geometry(depth=torch.ones_like(e.truth.depth)) for e in examples]
    metrics = weighted_means([(scene_depth_scores(g, e.truth), 1) for g, e in zip(flat, examples)])
    metrics["absrel_unposed"] = metrics["absrel"]
    poses = [pose for e in examples for pose in e.truth.cameras.extrinsics]
    views = {len(pose) for pose in poses}
    if len(poses) > 1 and len(views) == 1 and views != {1}:
        every = torch.stack(poses)
        others = ~torch.eye(len(every), dtype=torch.bool, device=every.device)
        pairs = [(every[i].expand(every[o].shape), every[o]) for i, o in enumerate(others)]
        metrics |= weighted_means([(pose_scores(*pair), 1) for pair in pairs])
    return metrics

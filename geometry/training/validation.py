"""Scoring a model on fixed samples, and pictures of some of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geometry.engine import SampleRequest, Validation, ValidationRun
from geometry.engine.distributed import weighted_means
from geometry.engine.loader import Samples, to_device
from geometry.engine.seeding import derive_seed, seeded
from geometry.tensors import collate
from geometry.views import Example

Scores = dict[str, float]
Pictures = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ValidationSet:
    """Samples that every validation scores; always the same ones."""

    dataset: Samples
    samples: int = 16  # how many of them
    image_size: Sequence[int] | None = None  # (H, W); None leaves it to the dataset
    views: int | None = None  # of each sample; None leaves it to the dataset
    batch: int = 1  # scored together; several want the same sizes, and are quicker where these are small
    seed: int = 0  # of the draw of views

    def __getitem__(self, index: int) -> Any:
        seed = derive_seed(self.seed, "validation", index)
        size = None if self.image_size is None else (int(self.image_size[0]), int(self.image_size[1]))
        request = SampleRequest(
            index=index, number=index, step=0, seed=seed, image_size=size, views=self.views
        )
        # A sample is often made at its first validation, inside the network's autocast: it must not see that.
        with seeded(seed), torch.autocast("cpu", enabled=False):
            return self.dataset[request]


def validate(
    sets: Mapping[str, ValidationSet],
    score: Callable[[Example, bool], tuple[Scores, Pictures]],
    run: ValidationRun,
    *,
    previews: int = 1,
) -> Validation:
    """Mean scores over each set's samples, this process's share of them.

    Metrics of the first set have plain names, of the others ``<set>_<name>``.

    Args:
        score: means over the samples of a batch, and pictures of its first one where the second argument
            asks for them.
        previews: how many batches of each set leave pictures.
    """
    parts: list[tuple[Scores, float]] = []
    weight: Counter[str] = Counter()
    images: Pictures = {}
    for place, (name, samples) in enumerate(sets.items()):
        prefix = "" if place == 0 else f"{name}_"
        shares = batches_of(samples.samples, samples.batch, run.rank, run.world_size)
        for number, (together, counted) in enumerate(shares):
            batch = to_device(collate([samples[index] for index in together]), run.device)
            scores, pictures = score(batch, number < previews)
            if counted:
                scores = {prefix + key: value for key, value in scores.items()}
                parts.append((scores, len(together)))
                weight.update(dict.fromkeys(scores, len(together)))
                images |= {f"{name}_{together[0]}_{key}": picture for key, picture in pictures.items()}
    return Validation(metrics=weighted_means(parts), weight=dict(weight), images=images)


def batches_of(samples: int, batch: int, rank: int, world_size: int) -> list[tuple[Sequence[int], bool]]:
    """Samples that a process scores together, and whether they count.

    All processes get equally many batches of equal sizes, as sharded models need. Samples that do not divide
    by the processes come last, one for each; a process for which none is left scores one that does not count.
    """
    even = samples - samples % world_size
    mine = range(rank, even, world_size)
    batches: list[tuple[Sequence[int], bool]] = [
        (mine[first : first + batch], True) for first in range(0, len(mine), batch)
    ]
    if even < samples:
        batches.append(([(even + rank) % samples], even + rank < samples))
    return batches

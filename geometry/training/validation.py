"""Scoring a model on fixed samples, and pictures of some of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geometry.engine import SampleRequest, Validation, ValidationRun
from geometry.engine.loader import Samples, to_device
from geometry.engine.seeding import derive_seed, seeded
from geometry.tensors import collate
from geometry.views import Example

Scores = dict[str, float]
Pictures = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ValidationSet:
    """Samples that every validation scores; always the same ones.

    Attributes:
        dataset: answers the engine's requests.
        samples: how many of them.
        image_size: (H, W); None leaves it to the dataset.
        views: views of each sample; None leaves it to the dataset.
        batch: samples scored together; several want the same sizes, and are quicker where these are small.
        seed: of the draw of views.
    """

    dataset: Samples
    samples: int = 16
    image_size: Sequence[int] | None = None
    views: int | None = None
    batch: int = 1
    seed: int = 0

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
    sums: Scores = {}
    images: Pictures = {}
    counts: Counter[str] = Counter()
    for place, (name, samples) in enumerate(sets.items()):
        prefix = "" if place == 0 else f"{name}_"
        shares = batches_of(samples.samples, samples.batch, run.rank, run.world_size)
        for number, (together, counted) in enumerate(shares):
            batch = to_device(collate([samples[index] for index in together]), run.device)
            scores, pictures = score(batch, number < previews)
            if not counted:
                continue
            for key, value in scores.items():
                sums[prefix + key] = sums.get(prefix + key, 0.0) + value * len(together)
                counts[prefix + key] += len(together)
            images |= {f"{name}_{together[0]}_{key}": picture for key, picture in pictures.items()}
    means = {key: value / counts[key] for key, value in sums.items()}
    return Validation(metrics=means, weight=dict(counts), images=images)


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

"""Scoring a model on fixed samples, and pictures of some of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.data.sampling_dataset import plain_request
from geometry.engine import SampleRequest, Validation, ValidationRun
from geometry.engine.data import Samples, to_device
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
    image_size: tuple[int, int] | None = None
    views: int | None = None
    batch: int = 1
    seed: int = 0

    def __getitem__(self, index: int) -> Example:
        seed = derive_seed(self.seed, "validation", index)
        size = None if self.image_size is None else (int(self.image_size[0]), int(self.image_size[1]))
        request = SampleRequest(
            index=plain_request(index, self.seed).index,
            number=index,
            step=0,
            seed=seed,
            image_size=size,
            views=self.views,
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

    Metrics of the first set have plain names, of the others ``<set>_<name>``. Under FSDP processes must call
    the model equally often: choose numbers of samples that divide by the number of processes.

    Args:
        score: means over the samples of a batch, and pictures of its first one where the second argument
            asks for them.
        previews: how many batches of each set leave pictures.
    """
    metrics: Scores = {}
    images: Pictures = {}
    weight = 0.0
    for place, (name, samples) in enumerate(sets.items()):
        prefix = "" if place == 0 else f"{name}_"
        mine = range(run.rank, samples.samples, run.world_size)
        sums: Scores = {}
        for first in range(0, len(mine), samples.batch):
            together = mine[first : first + samples.batch]
            batch = to_device(collate([samples[index] for index in together]), run.device)
            scores, pictures = score(batch, first // samples.batch < previews)
            for key, value in scores.items():
                sums[key] = sums.get(key, 0.0) + value * len(together)
            images |= {f"{name}_{together[0]}_{key}": picture for key, picture in pictures.items()}
        metrics |= {f"{prefix}{key}": value / len(mine) for key, value in sums.items()}
        weight = weight or float(len(mine))
    return Validation(metrics=metrics, weight=weight, images=images)

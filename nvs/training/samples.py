"""Samples whose context views come again, under a name by which their features are kept."""

import itertools
from dataclasses import KW_ONLY, dataclass, replace

from geometry.engine.notes import note_origin
from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.tensors import collate
from nvs.data.example import NovelViewExample


@dataclass(frozen=True, kw_only=True)
class RecurringExample(NovelViewExample):
    """A sample from a finite number of context sets."""

    keys: tuple[str, ...]  # one per scene of the batch; in a run equal keys mean equal context views


_numbers = itertools.count()


@dataclass(eq=False)
class FixedSamples:
    """The first samples of an endless dataset, again and again: for overfitting, and to judge a run by.

    They stay in memory once made.
    """

    dataset: object  # gives a `NovelViewExample` for a request
    count: int  # how many samples
    _: KW_ONLY
    seed: int = 0  # of the samples; another one gives others

    collate = staticmethod(collate)

    def __post_init__(self) -> None:
        self.number = next(_numbers)  # tells its samples from those of another one in the same mixture
        self.kept: dict[str, RecurringExample] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, request: SampleRequest) -> RecurringExample:
        i = int(request) % self.count
        key = f"sample {i} of fixed {self.number}, {request.image_size}, {request.views} views"
        if key not in self.kept:
            seed = derive_seed(self.seed, "fixed sample", i)
            sample = self.dataset[replace(request, index=i, number=i, step=0, seed=seed)]  # type: ignore[index]
            self.kept[key] = RecurringExample(context=sample.context, target=sample.target, keys=(key,))
        else:
            note_origin(key)
        return self.kept[key]

"""The samples of each training step: pure functions of (seed, step), so resuming is a jump.

A sampler answers for the whole global batch. The loader then gives each process its own slice, so
one process and eight see the same samples in the same step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np

from geometry.engine.seeding import derive_seed
from geometry.errors import InputError

CHUNK = 1024  # steps planned together by TokenBudgetSampler: one generator serves them all


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """One sample wanted from the dataset, as ``dataset[request]``.

    It works as an index (``items[request]`` on a list, ``int(request)``), so an ordinary map-style
    dataset needs no change; a dataset with varying shapes reads the other fields.
    """

    index: int  # entry of a dataset with a length; of one without, the running number itself
    number: int  # running number of the sample in the run: never repeats
    step: int  # the training step it is for, from 0: a dataset may change its labels at some step
    seed: int  # the sample's only source of randomness, from (run seed, number)
    run_seed: int = 0  # the run's own: for what several samples share
    image_size: tuple[int, int] | None = None  # (H, W) in pixels; None leaves it to the dataset
    views: int | None = None  # number of views; None leaves it to the dataset

    def __index__(self) -> int:
        return self.index

    def __int__(self) -> int:
        return self.index


@runtime_checkable
class StepSampler(Protocol):
    """What a data stream needs of a sampler."""

    def requests(self, step: int, *, seed: int, parts: int, length: int | None) -> list[SampleRequest]:
        """Samples of the global batch of ``step`` (from 0).

        Args:
            parts: the batch is cut into so many equal parts (processes x accumulated micro-batches);
                the list's length must be a multiple of it.
            length: number of entries of the dataset, None for an endless one.
        """


@dataclass(frozen=True, kw_only=True)
class FixedBatchSampler:
    """The same number of samples in every step, entries shuffled anew in every epoch."""

    batch_size: int  # samples of one step over all processes and micro-batches
    image_size: Sequence[int] | None = None  # (H, W) passed on to the dataset
    views: int | None = None  # passed on to the dataset

    def requests(self, step: int, *, seed: int, parts: int, length: int | None) -> list[SampleRequest]:
        if self.batch_size % parts:
            raise InputError(
                f"batch_size {self.batch_size} cannot be cut into {parts} equal parts "
                "(processes x accumulated micro-batches): choose a multiple of it"
            )
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        size = None if self.image_size is None else (int(self.image_size[0]), int(self.image_size[1]))
        return _requests(numbers, step, seed, length, size, self.views)


@dataclass(eq=False, kw_only=True)
class TokenBudgetSampler:
    """Steps of varying image size and view count that all cost about the same number of tokens.

    Each step draws one image size and one number of views, equal on all processes, and takes as many
    samples as the budget of tokens allows.

    Raises:
        InputError: sizes do not fit the patch, or the budget does not hold the largest sample once
            for each part.

    Source: DA3 (arXiv:2511.10647), training details: image sizes drawn per step, views uniform in a
    range, batch size following so that tokens per step stay about constant.
    """

    tokens: int  # upper bound of image tokens of one step over all processes and micro-batches
    image_sizes: Sequence[Sequence[int]]  # (H, W) in pixels, multiples of the patch
    # (Least, most), both included; or one such pair for each image size, so that large images can come with
    # few views and small ones with many.
    views: Sequence[int] | Sequence[Sequence[int]]
    weights: Sequence[float] | None = None  # relative frequency of each image size; None: all alike
    patch: int = 14  # side of an image token in pixels
    per_part: bool = False  # True: ``tokens`` are those of each part, and the batch grows with them
    # The number of samples is a multiple of this. None takes the number of parts (processes x accumulated
    # micro-batches), whose batches then depend on it; the largest that you will use makes them alike.
    batch_multiple: int | None = None

    def __post_init__(self) -> None:
        sizes = [(int(h), int(w)) for h, w in self.image_sizes]
        self._sizes, self._ranges = sizes, _view_ranges(self.views, len(sizes))
        for h, w in sizes:
            if h % self.patch or w % self.patch:
                raise InputError(
                    f"image size {h} x {w} must be a multiple of the patch {self.patch} on both sides"
                )
        self.cells = np.array([h * w // self.patch**2 for h, w in sizes])
        chance = np.asarray(np.ones(len(sizes)) if self.weights is None else self.weights, dtype=float)
        if len(chance) != len(sizes) or chance.min() < 0 or not chance.sum():
            raise InputError(f"weights must give one number >= 0 for each of the {len(sizes)} image sizes")
        self.chance = chance / chance.sum()
        self._plans: dict[tuple[int, int, int], list[np.ndarray]] = {}

    def shape(self, step: int, *, seed: int, parts: int = 1) -> tuple[tuple[int, int], int, int]:
        """Image size (H, W), number of views and number of samples of a step."""
        size, views, batch, _ = self._planned(step, seed, parts)
        return self._sizes[size], views, batch

    def requests(self, step: int, *, seed: int, parts: int, length: int | None) -> list[SampleRequest]:
        size, views, batch, first = self._planned(step, seed, parts)
        return _requests(range(first, first + batch), step, seed, length, self._sizes[size], views)

    def _planned(self, step: int, seed: int, parts: int) -> list[int]:
        """Index of the image size, views, samples, and the running number of the first one."""
        multiple = self.batch_multiple or parts
        if multiple % parts:
            raise InputError(
                f"batch_multiple {multiple} must be a multiple of {parts} "
                "(processes x accumulated micro-batches)"
            )
        budget = self.tokens * (parts if self.per_part else 1)
        plans = self._plans.setdefault((seed, multiple, budget), [])
        if not plans:
            self._require_room(multiple, budget)
        # A sample's running number is the sum of all batches before it, so chunks are planned in order.
        # Planning 200,000 steps takes a fraction of a second.
        while len(plans) <= step // CHUNK:
            first = plans[-1][-1, 2:].sum() if plans else 0
            plans.append(self._plan(seed, len(plans), first, multiple, budget))
        return plans[step // CHUNK][step % CHUNK].tolist()

    def _plan(self, seed: int, chunk: int, first: int, multiple: int, budget: int) -> np.ndarray:
        rng = np.random.default_rng(derive_seed(seed, "token budget", chunk))
        size = rng.choice(len(self._sizes), CHUNK, p=self.chance)
        low, high = np.array(self._ranges)[size].T
        views = rng.integers(low, high, endpoint=True)
        batch = budget // (views * self.cells[size]) // multiple * multiple
        return np.stack((size, views, batch, first + np.cumsum(batch) - batch), axis=1)

    def _require_room(self, multiple: int, budget: int) -> None:
        """Fail at the first step, not at the one that happens to draw the largest sample."""
        needs = multiple * np.array(self._ranges)[:, 1] * self.cells
        i = int(np.argmax(needs))
        if needs[i] > budget:
            (h, w), most = self._sizes[i], self._ranges[i][1]
            raise InputError(
                f"a budget of {budget} tokens a step cannot hold {multiple} samples (one for each part) "
                f"of {most} views of {h} x {w}, {needs[i]} tokens: raise tokens, or lower views"
            )


def _view_ranges(views: Sequence, sizes: int) -> list[tuple[int, int]]:
    values = list(views)
    if len(values) == 2 and all(isinstance(v, int) for v in values):
        values = [values] * sizes
    ranges = [(int(low), int(high)) for low, high in values]
    if len(ranges) != sizes or any(not 1 <= low <= high for low, high in ranges):
        raise InputError(
            f"views must be (least, most) with 1 <= least <= most, or one pair per size, got {views}"
        )
    return ranges


def _requests(
    numbers: range,
    step: int,
    seed: int,
    length: int | None,
    image_size: tuple[int, int] | None,
    views: int | None,
) -> list[SampleRequest]:
    """Samples of these running numbers; of a dataset with a length in shuffled epochs."""
    return [
        SampleRequest(
            index=n if length is None else int(_permutation(seed, n // length, length)[n % length]),
            number=n,
            step=step,
            seed=derive_seed(seed, "sample", n),
            run_seed=seed,
            image_size=image_size,
            views=views,
        )
        for n in numbers
    ]


@lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "epoch", epoch)).permutation(length)

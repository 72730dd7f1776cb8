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
    """The same number of samples in every step, entries shuffled anew in every epoch.

    Attributes:
        batch_size: samples of one step over all processes and micro-batches.
        image_size: (H, W) passed on to the dataset.
        views: passed on to the dataset.
    """

    batch_size: int
    image_size: Sequence[int] | None = None
    views: int | None = None

    def requests(self, step: int, *, seed: int, parts: int, length: int | None) -> list[SampleRequest]:
        if self.batch_size % parts:
            raise InputError(
                f"batch_size {self.batch_size} cannot be cut into {parts} equal parts "
                "(processes x accumulated micro-batches): choose a multiple of it"
            )
        size = None if self.image_size is None else (int(self.image_size[0]), int(self.image_size[1]))
        first = step * self.batch_size
        return [
            _request(number, step, seed=seed, length=length, image_size=size, views=self.views)
            for number in range(first, first + self.batch_size)
        ]


class TokenBudgetSampler:
    """Steps of varying image size and view count that all cost about the same number of tokens.

    Each step draws one image size and one number of views, equal on all processes, and takes as many
    samples as the budget of tokens allows.

    Args:
        tokens: upper bound of image tokens of one step over all processes and micro-batches.
        image_sizes: list of (H, W) in pixels, each a multiple of ``patch``.
        views: (least, most) views, both included; or one such pair for each image size, so that
            large images can come with few views and small ones with many.
        weights: relative frequency of each image size; None draws them equally often.
        patch: side of an image token in pixels.
        batch_multiple: the number of samples is a multiple of this. None takes the number of parts
            (processes x accumulated micro-batches), whose batches then depend on that number; set it
            to the largest number of parts you will use to have the same batches everywhere.
        max_batch: upper bound of samples of one step.

    Raises:
        InputError: sizes do not fit the patch, or the budget does not hold the largest sample once
            for each part.

    Source: DA3 (arXiv:2511.10647), training details: image sizes drawn per step, views uniform in a
    range, batch size following so that tokens per step stay about constant.
    """

    def __init__(
        self,
        *,
        tokens: int,
        image_sizes: Sequence[Sequence[int]],
        views: Sequence[int] | Sequence[Sequence[int]],
        weights: Sequence[float] | None = None,
        patch: int = 14,
        batch_multiple: int | None = None,
        max_batch: int | None = None,
    ) -> None:
        self.tokens = int(tokens)
        self.image_sizes = [(int(h), int(w)) for h, w in image_sizes]
        self.views = _view_ranges(views, len(self.image_sizes))
        self.patch = patch
        self.batch_multiple = batch_multiple
        self.max_batch = max_batch
        for h, w in self.image_sizes:
            if h % patch or w % patch:
                raise InputError(
                    f"image size {h} x {w} must be a multiple of the patch {patch} on both sides"
                )
        if weights is not None and (
            len(weights) != len(self.image_sizes) or min(weights) < 0 or not sum(weights)
        ):
            raise InputError(
                f"weights must give one number >= 0 for each of the {len(image_sizes)} image sizes"
            )
        chance = np.ones(len(self.image_sizes)) if weights is None else np.asarray(weights, dtype=float)
        self.chance = chance / chance.sum()
        self._chunks: dict[tuple[int, int], list[_Chunk]] = {}

    def shape(self, step: int, *, seed: int, parts: int = 1) -> tuple[tuple[int, int], int, int]:
        """Image size (H, W), number of views and number of samples of a step."""
        chunk, i = self._chunk(step, seed, parts), step % CHUNK
        return self.image_sizes[chunk.size[i]], int(chunk.views[i]), int(chunk.batch[i])

    def requests(self, step: int, *, seed: int, parts: int, length: int | None) -> list[SampleRequest]:
        chunk, i = self._chunk(step, seed, parts), step % CHUNK
        size, views, batch = self.shape(step, seed=seed, parts=parts)
        first = int(chunk.first[i])
        return [
            _request(number, step, seed=seed, length=length, image_size=size, views=views)
            for number in range(first, first + batch)
        ]

    def _chunk(self, step: int, seed: int, parts: int) -> "_Chunk":
        multiple = self.batch_multiple or parts
        if multiple % parts:
            raise InputError(
                f"batch_multiple {multiple} must be a multiple of {parts} "
                "(processes x accumulated micro-batches)"
            )
        if (seed, multiple) not in self._chunks:
            self._require_room(multiple)
        chunks = self._chunks.setdefault((seed, multiple), [])
        # A sample's running number is the sum of all batches before it, so chunks are planned in order.
        # Planning 200,000 steps takes a fraction of a second.
        while len(chunks) <= step // CHUNK:
            first = chunks[-1].end if chunks else 0
            chunks.append(self._plan(seed, len(chunks), first, multiple))
        return chunks[step // CHUNK]

    def _plan(self, seed: int, chunk: int, first: int, multiple: int) -> "_Chunk":
        rng = np.random.default_rng(derive_seed(seed, "token budget", chunk))
        size = rng.choice(len(self.image_sizes), CHUNK, p=self.chance)
        low, high = np.array(self.views)[size].T
        views = rng.integers(low, high, endpoint=True)
        cells = np.array([h * w // self.patch**2 for h, w in self.image_sizes])[size]
        batch = self.tokens // (views * cells) // multiple * multiple
        if self.max_batch is not None:
            batch = np.minimum(batch, self.max_batch // multiple * multiple)
        end = first + np.cumsum(batch)
        return _Chunk(size=size, views=views, batch=batch, first=end - batch, end=int(end[-1]))

    def _require_room(self, multiple: int) -> None:
        """Fail at the first step, not at the one that happens to draw the largest sample."""
        if self.max_batch is not None and self.max_batch < multiple:
            raise InputError(f"max_batch {self.max_batch} is less than the {multiple} parts of a step")
        needs = [most * h * w // self.patch**2 for (h, w), (_, most) in zip(self.image_sizes, self.views)]
        i = int(np.argmax(needs))
        if multiple * needs[i] > self.tokens:
            (h, w), most = self.image_sizes[i], self.views[i][1]
            raise InputError(
                f"a budget of {self.tokens} tokens a step cannot hold {multiple} samples (one for each part) "
                f"of {most} views of {h} x {w}, {multiple * needs[i]} tokens: raise tokens, or lower views"
            )


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """The plan of CHUNK steps; arrays have one entry for each step."""

    size: np.ndarray  # index into image_sizes
    views: np.ndarray
    batch: np.ndarray
    first: np.ndarray  # running number of the step's first sample
    end: int  # running number after the last sample


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


def _request(
    number: int,
    step: int,
    *,
    seed: int,
    length: int | None,
    image_size: tuple[int, int] | None,
    views: int | None,
) -> SampleRequest:
    index = number
    if length is not None:
        epoch, place = divmod(number, length)
        index = int(_permutation(seed, epoch, length)[place])
    return SampleRequest(
        index=index,
        number=number,
        step=step,
        seed=derive_seed(seed, "sample", number),
        image_size=image_size,
        views=views,
    )


@lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "epoch", epoch)).permutation(length)

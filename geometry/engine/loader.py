"""From a dataset to the batches of one process: workers, seeds, order and the way to the device."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sized
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader, default_collate

from geometry.engine.interrupt import SIGNALS
from geometry.engine.notes import Notes, noting
from geometry.engine.samplers import SampleRequest, StepSampler
from geometry.engine.seeding import derive_seed, seeded
from geometry.errors import InputError

GRACE_S = 60  # how long a worker outlives SIGTERM, so that the step in progress gets its data


@runtime_checkable
class Samples(Protocol):
    """What a dataset must offer; a ``__len__`` and a ``collate`` are optional."""

    def __getitem__(self, request: SampleRequest) -> Any:
        """One sample, determined by the request."""


@dataclass(eq=False)
class DataStream:
    """A dataset, how it is sampled, and how it is loaded.

    The dataset is asked ``dataset[request]`` with a `SampleRequest`, and must answer from the request
    alone: global generators of Python, numpy and torch are seeded with ``request.seed`` around the
    call, so augmentation code that uses them is safe, with and without workers.

    Args:
        dataset: has ``__getitem__``; a ``__len__`` makes it finite and read in shuffled epochs.
        sampler: gives the requests of each step.
        workers: loader processes; 0 loads in the training process (the right choice for a dataset
            that makes its samples on the GPU).
        prefetch: batches each worker prepares ahead.
        collate: list of samples -> batch; None takes ``dataset.collate`` if there is one, else torch's.
        start_method: how workers start: "fork" (fast), "forkserver" or "spawn" (when the dataset uses
            threads or CUDA); None leaves it to Python.
    """

    dataset: Samples
    sampler: StepSampler
    _: KW_ONLY
    workers: int = 0
    prefetch: int = 2
    collate: Callable[[list[Any]], Any] | None = None
    start_method: str | None = None

    def __post_init__(self) -> None:
        self.collate = self.collate or getattr(self.dataset, "collate", None) or default_collate
        self.length = len(self.dataset) if isinstance(self.dataset, Sized) else None
        if self.length == 0:
            raise InputError("the training dataset is empty: it needs at least one sample")

    def steps(
        self,
        start: int,
        stop: int,
        *,
        seed: int,
        rank: int,
        world_size: int,
        accumulate: int,
        device: torch.device,
        skip: Collection[int] = (),
    ) -> Iterator[list[tuple[int, Any, Notes]]]:
        """For each step in ``start .. stop - 1`` this process's micro-batches: samples, batch (moved), notes.

        The global batch is cut into ``world_size * accumulate`` equal parts in order; process ``rank``
        takes parts ``rank * accumulate`` to ``(rank + 1) * accumulate - 1``. For steps in ``skip`` nothing is
        loaded, and the list is empty.
        """

        wanted = [step for step in range(start, stop) if step not in skip]

        def requests() -> Iterator[list[SampleRequest]]:
            parts = world_size * accumulate
            for step in wanted:
                batch = self.sampler.requests(step, seed=seed, parts=parts, length=self.length)
                size = len(batch) // parts
                for part in range(rank * accumulate, (rank + 1) * accumulate):
                    yield batch[part * size : (part + 1) * size]

        loader = DataLoader(  # type: ignore[var-annotated]
            _Seeded(self.dataset),  # type: ignore[arg-type]
            batch_sampler=requests(),  # type: ignore[arg-type]
            collate_fn=partial(_counted, self.collate),
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            multiprocessing_context=self.start_method if self.workers else None,
            pin_memory=device.type == "cuda" and self.workers > 0,  # without workers it may be on the GPU
            worker_init_fn=_start_worker,
            # Without its own generator the loader would draw from torch's global one, once at each
            # start: a resumed run would then be one number behind the unbroken run.
            generator=torch.Generator().manual_seed(derive_seed(seed, "loader", rank)),
        )
        # Blocked while workers start: a fork server inherits that, and cannot be told to ignore signals.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            batches = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for step in range(start, stop):
            parts = [next(batches) for _ in range(accumulate if step not in skip else 0)]
            yield [(samples, to_device(batch, device), notes) for samples, batch, notes in parts]


class _Seeded:
    """The dataset with global generators seeded for each sample."""

    def __init__(self, dataset: Samples) -> None:
        self.dataset = dataset

    def __getitem__(self, request: SampleRequest) -> tuple[Any, Notes]:
        with seeded(request.seed), noting() as notes:
            sample = self.dataset[request]
        notes.origins = notes.origins or [f"entry {request.index}"]
        return sample, notes


def _counted(collate: Callable[[list[Any]], Any], samples: list[tuple[Any, Notes]]) -> tuple[int, Any, Notes]:
    return len(samples), collate([s for s, _ in samples]), Notes().add(notes for _, notes in samples)


def _start_worker(worker: int) -> None:
    """Workers leave signals to the training process, which needs one more batch to stop cleanly.

    Ctrl-C and a scheduler's signals reach the whole process group. A worker that is told to end does
    so after a grace period at the latest; it ends at once when the training process is gone.
    """
    end_with_parent(worker)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_S))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_parent(worker: int) -> None:
    """Let a worker end when the process that started it is gone, be it killed.

    torch's own watch asks for the parent's number, which under a fork server is the server's: that lives as
    long as any worker does.
    """

    def wait(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, args=(multiprocessing.parent_process(),), daemon=True).start()


def to_device(batch: Any, device: torch.device) -> Any:
    """Move tensors, records with a ``to`` method, and containers of them.

    The copy does not block when the source is pinned, so it overlaps with the end of the step before.
    """
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, (list, tuple)):
        moved = [to_device(v, device) for v in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch

"""Checkpoints on disk: written whole or not at all, verified before use, pruned.

    checkpoints/step_00002000/
        shard-*.safetensors   tensors by name; every process has written its own part
        training.pt           plain values of an exact resume: random states, meters, loss scale
        meta.json             step, metrics, config; size and SHA-256 of each file

torch.distributed.checkpoint writes the tensors behind the training's back, and reads them for any number of
processes. A checkpoint is written beside, flushed to the disk, then renamed: a folder of that name is whole,
whenever the machine stopped. Nothing of it can run code: safetensors, JSON, and plain values read with
``weights_only=True``.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from geometry.atomic import flush
from geometry.engine.state_dict import placed
from geometry.errors import InputError
from geometry.stored_config import with_present_names

FORMAT = 2  # 1, until 2026-11: whole tensors in model.pt, ema.pt and training.pt
PARTIAL = ".partial"
NAME = re.compile(r"step_(\d{8,})")


class CannotSave(InputError):
    """A checkpoint could not be written."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """When checkpoints are written and which are kept."""

    every: int = 1000  # steps between them; the end of a run and an interruption always save
    every_minutes: float | None = None  # also when the last one is older than this; None: never
    keep_last: int = 3  # how many of the newest are kept
    best_metric: str | None = None  # validation metric; an improvement saves at once, and the best is kept
    best_is: Literal["max", "min"] = "max"
    patience: int | None = (
        None  # so many validations on end without a new best one end the run; None: none do
    )
    behind: bool = True  # training goes on while one is written, from a copy in the CPU's memory
    save_frozen: bool = False  # if not, a resumed run must bring the same frozen weights: a hash is compared

    def __post_init__(self) -> None:
        if self.best_is not in ("max", "min"):
            raise InputError(f"saving.best_is must be max or min, got {self.best_is!r}")
        if self.every < 1 or self.keep_last < 1:
            raise InputError("saving.every and saving.keep_last must be at least 1")
        if self.patience is not None and (self.patience < 1 or self.best_metric is None):
            raise InputError("saving.patience must be at least 1 or null, and needs saving.best_metric")
        if self.every_minutes is not None and self.every_minutes <= 0:
            raise InputError(f"saving.every_minutes must be above 0 or null, got {self.every_minutes}")

    def better(self, metrics: dict[str, float], best: float | None) -> bool:
        """Whether these metrics improve on the best value so far.

        Raises:
            InputError: the validation gives no metric of that name.
        """
        if self.best_metric is None:
            return False
        if self.best_metric not in metrics:
            raise InputError(
                f"saving.best_metric: the validation gives no {self.best_metric!r}, only "
                f"{', '.join(sorted(metrics)) or 'nothing'}"
            )
        value = metrics[self.best_metric]  # NaN is no improvement
        if value != value and best is None and self.patience is not None:
            raise InputError(
                f"saving.best_metric: the validation gives no number for {self.best_metric}, has its data no "
                f"truth of that? Choose another metric of {', '.join(sorted(metrics))}"
            )
        return value == value and (best is None or (value > best if self.best_is == "max" else value < best))


@dataclass(frozen=True)
class Writing:
    """A checkpoint that is being written."""

    checkpoint: Path  # its place once it is whole
    future: Future

    def result(self) -> Path:
        """The checkpoint, when all processes have written; every process is told the same.

        Raises:
            CannotSave: the disk of one is full, or fails otherwise; what was there is as it was.
        """
        from torch.distributed.checkpoint.api import CheckpointException

        try:
            self.future.result()
        except CheckpointException as error:
            shutil.rmtree(f"{self.checkpoint}{PARTIAL}", ignore_errors=True)  # all have stopped writing
            reason = "; ".join(str(cause).splitlines()[0] for cause, _ in error.failures.values())
            step = int(self.checkpoint.name.removeprefix("step_"))
            raise CannotSave(f"step {step} could not be saved: {reason}") from error
        return self.checkpoint


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    values: dict[str, Any],
    meta: dict[str, Any],
    group: ProcessGroup | None = None,
) -> Writing:
    """Begin to write ``folder/step_<step>``; all processes call, and may change the tensors afterwards.

    Args:
        tensors: by the same names on all processes, sharded or whole; ``model.``, ``ema.`` and ``optimizer.``
            begin the names.
        values: plain values in dicts and lists; the first process's are written.
        meta: JSON values, stored readably; the first process's are written.
        group: of all processes, for this alone, with messages between CPUs.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save

    final = folder / f"step_{step:08d}"

    class Writer(HuggingFaceStorageWriter):
        def finish(self, metadata: Any, results: Any) -> None:
            """On the first process, after the last shard."""
            partial, sums = Path(self.path), {}
            torch.save(values, partial / "training.pt")
            for path in sorted(partial.iterdir()):
                flush(path)
                sums[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            described = {"format": FORMAT, "step": step, **meta, "files": sums}
            (partial / "meta.json").write_text(json.dumps(described, indent=1))
            flush(partial / "meta.json")
            if final.exists():  # the same step once more, after a resume from an earlier one
                remove_checkpoint(final)
            partial.rename(final)
            flush(folder)

    kinds = sorted({_kind(name) for name in tensors})  # one file each, so that weights are read alone
    writer = Writer(
        f"{final}{PARTIAL}",
        save_distributed=True,
        fqn_to_index_mapping={name: 1 + kinds.index(_kind(name)) for name in tensors},
    )
    _one_process_is_enough()
    stored = {name: t.detach().contiguous() for name, t in tensors.items()}
    return Writing(final, async_save(stored, storage_writer=writer, process_group=group))  # type: ignore[arg-type]


def saved_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """Types and shapes of a checkpoint's tensors, by name; read none of their contents."""
    if read_meta(checkpoint)["format"] == 1:
        return _of_format_1(checkpoint)
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    found = HuggingFaceStorageReader(str(checkpoint)).read_metadata().state_dict_metadata
    return {n: torch.empty(t.size, dtype=t.properties.dtype, device="meta") for n, t in found.items()}  # type: ignore[union-attr]


@torch.no_grad()
def read_tensors(checkpoint: Path, into: dict[str, Tensor]) -> None:
    """Fill tensors, sharded or whole, with those of the same names; each process reads what it needs."""
    if read_meta(checkpoint)["format"] == 1:
        whole = _of_format_1(checkpoint)
        for name, tensor in into.items():
            tensor.copy_(placed(whole[name], tensor))
        return
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load
    from torch.distributed.checkpoint.api import CheckpointException

    _one_process_is_enough()
    try:
        load(dict(into), storage_reader=HuggingFaceStorageReader(str(checkpoint)), no_dist=True)
    except CheckpointException as error:  # torch wraps Ctrl-C too, in what nothing else catches
        raise next(cause for cause, _ in error.failures.values()) from error


def _of_format_1(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint that an earlier version wrote, under today's names."""
    kinds = {
        kind: read_file(checkpoint, kind) for kind in ("model", "ema") if (checkpoint / f"{kind}.pt").exists()
    }
    kinds["optimizer"] = {
        f"{name}.{key}": torch.as_tensor(value)
        for name, state in read_file(checkpoint, "training")["optimizer"].items()
        for key, value in state.items()
    }
    return {f"{kind}.{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}


def _kind(name: str) -> str:
    return name.partition(".")[0]


def _one_process_is_enough() -> None:
    warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized")


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    found = [p for p in folder.glob("step_*") if p.is_dir() and NAME.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step_")))


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None when every file has its size and hash."""
    try:
        meta = read_meta(checkpoint)
        stated = {name: (facts["bytes"], facts["sha256"]) for name, facts in meta["files"].items()}
        int(meta["format"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return f"meta.json cannot be read ({error})"
    for name, (size, sha256) in stated.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, expected {size}"
        if _sha256(path) != sha256:
            return f"{name} does not have the SHA-256 it was written with"
    return None


def newest_whole(folder: Path) -> Path | None:
    """The newest undamaged checkpoint; newer damaged ones are renamed to ``.damaged`` with a warning.

    Raises:
        InputError: there are checkpoints, but every one is damaged.
    """
    found = list_checkpoints(folder)
    for unfinished in (".step_*.part", f"step_*{PARTIAL}", "step_*.removed"):  # left by a kill
        for stale in folder.glob(unfinished):
            shutil.rmtree(stale, ignore_errors=True)
    for checkpoint in reversed(found):
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        aside = checkpoint.with_name(checkpoint.name + ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(checkpoint, aside)
        warnings.warn(
            f"{checkpoint}: {damage}; it was renamed to {aside.name}, and the one before is used",
            stacklevel=2,
        )
    if found:
        raise InputError(
            f"{folder}: none of the {len(found)} checkpoints is whole, so training cannot resume"
        )
    return None


def read_meta(checkpoint: Path) -> dict[str, Any]:
    """What ``meta.json`` says; a config of an earlier version comes with today's names."""
    with open(checkpoint / "meta.json") as file:
        meta = json.load(file)
    return {**meta, "config": with_present_names(meta.get("config", {}))}


def read_file(checkpoint: Path, name: str) -> Any:
    """Contents of one of a checkpoint's ``.pt`` files, tensors on the CPU."""
    return torch.load(checkpoint / f"{name}.pt", map_location="cpu", weights_only=True, mmap=True)


def load_weights(checkpoint: Path, *, averaged: bool | None = None) -> dict[str, Tensor]:
    """Weights of a checkpoint by name, whole: for ``model.load_state_dict``, or to export.

    Without `Saving.save_frozen` the frozen weights are not among them.

    Args:
        averaged: True for the EMA, False for the weights as trained, None for the EMA if there is one.

    Raises:
        InputError: the checkpoint is damaged, or holds no average and one was asked for.
    """
    if damage := find_damage(checkpoint):
        raise InputError(f"{checkpoint}: {damage}")
    saved = saved_tensors(checkpoint)
    if averaged and not any(_kind(name) == "ema" for name in saved):
        raise InputError(f"{checkpoint}: was trained without an average of the weights (ema_decay)")
    names = {}
    for name in (n.removeprefix("model.") for n in saved if _kind(n) == "model"):
        average = f"ema.{name}"
        names[name] = average if average in saved and averaged is not False else f"model.{name}"
    found = {full: torch.empty_like(saved[full], device="cpu") for full in names.values()}
    read_tensors(checkpoint, found)
    weights = {name: found[full] for name, full in names.items()}
    tied = read_meta(checkpoint).get("tied", {})
    return weights | {alias: weights[name] for alias, name in tied.items() if name in weights}


def best_checkpoint(folder: Path, saving: Saving) -> Path | None:
    """The checkpoint with the best value of ``saving.best_metric``; of equal ones the oldest."""
    best, value = None, None
    for checkpoint in list_checkpoints(folder):
        try:
            metrics = read_meta(checkpoint)["metrics"]
        except (OSError, ValueError, KeyError):
            continue  # damaged: newest_whole deals with it when it matters
        if saving.best_metric in metrics and saving.better(metrics, value):
            best, value = checkpoint, metrics[saving.best_metric]
    return best


def prune_checkpoints(folder: Path, saving: Saving) -> None:
    """Remove all but the newest ``saving.keep_last`` and the best."""
    best = best_checkpoint(folder, saving)
    for checkpoint in list_checkpoints(folder)[: -saving.keep_last]:
        if checkpoint != best:
            remove_checkpoint(checkpoint)


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove a checkpoint so that no half of it can be taken for a whole one."""
    doomed = checkpoint.with_name(checkpoint.name + ".removed")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(checkpoint, doomed)
    shutil.rmtree(doomed)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

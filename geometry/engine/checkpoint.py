"""Checkpoints on disk: written whole or not at all, verified before use, pruned.

    checkpoints/step_00002000/
        model.pt      weights by name (frozen ones only if asked for)
        ema.pt        averaged weights, if there is an average
        training.pt   optimizer, random states and what else an exact resume needs
        meta.json     step, metrics, config; size and SHA-256 of each file

A checkpoint is written beside, flushed to the disk, then renamed: a folder of that name is whole, whenever
the machine stopped. Files hold tensors and plain values only and are read with ``weights_only=True``, so that
a checkpoint cannot run code.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from geometry.atomic import atomic_folder
from geometry.errors import InputError
from geometry.stored_config import with_present_names

FORMAT = 1
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
    save_frozen: bool = False  # if not, a resumed run must bring the same frozen weights: a hash is compared

    def __post_init__(self) -> None:
        if self.best_is not in ("max", "min"):
            raise InputError(f"saving.best_is must be max or min, got {self.best_is!r}")
        if self.every < 1 or self.keep_last < 1:
            raise InputError("saving.every and saving.keep_last must be at least 1")
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
        return value == value and (best is None or (value > best if self.best_is == "max" else value < best))


def write_checkpoint(folder: Path, step: int, files: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Write ``folder/step_<step>`` atomically and return it.

    Args:
        files: name without ending -> tensors and plain values in dicts and lists.
        meta: JSON values, stored readably beside them.

    Raises:
        CannotSave: the disk is full, or fails otherwise; what was there is as it was.
    """
    try:
        return _write(folder, step, files, meta)
    except (InputError, OSError) as error:
        raise CannotSave(f"step {step} could not be saved: {error}") from error
    except RuntimeError as error:  # of torch's writer, in words of its own
        reason = f"writing failed, is the disk full? ({str(error).splitlines()[0]})"
        raise CannotSave(f"step {step} could not be saved: {reason}") from error


def _write(folder: Path, step: int, files: dict[str, Any], meta: dict[str, Any]) -> Path:
    final = folder / f"step_{step:08d}"
    with atomic_folder(final) as partial:
        sums = {}
        for name, value in files.items():
            path = partial / f"{name}.pt"
            torch.save(value, path)
            sums[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        meta = {"format": FORMAT, "step": step, **meta, "files": sums}
        (partial / "meta.json").write_text(json.dumps(meta, indent=1))
        if final.exists():  # the same step once more, after a resume from an earlier one
            remove_checkpoint(final)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    found = [p for p in folder.glob("step_*") if p.is_dir() and NAME.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step_")))


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None when every file has its size and hash."""
    try:
        files = read_meta(checkpoint)["files"]
        stated = {name: (facts["bytes"], facts["sha256"]) for name, facts in files.items()}
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
    for unfinished in (".step_*.part", "step_*.partial", "step_*.removed"):  # left by a kill
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
    """Weights of a checkpoint by name: for ``model.load_state_dict``, or to export.

    Without `Saving.save_frozen` the frozen weights are not among them.

    Args:
        averaged: True for the EMA, False for the weights as trained, None for the EMA if there is one.

    Raises:
        InputError: the checkpoint is damaged, or holds no average and one was asked for.
    """
    if damage := find_damage(checkpoint):
        raise InputError(f"{checkpoint}: {damage}")
    has_average = "ema.pt" in read_meta(checkpoint)["files"]
    if averaged and not has_average:
        raise InputError(f"{checkpoint}: was trained without an average of the weights (ema_decay)")
    weights = read_file(checkpoint, "model")
    if has_average and averaged is not False:
        weights.update(read_file(checkpoint, "ema"))
    return weights


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

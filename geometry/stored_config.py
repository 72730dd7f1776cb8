"""The configuration stored with a run: plain values, with today's names, and compared."""

import json
from typing import Any

from geometry.errors import InputError

# Modules and packages of earlier versions that a stored `_target_` may name; the longest that fits counts.
MOVED = {
    "geometry.data": "geometry.datasets",
    "geometry.data.augment": "geometry.sampling.augment",
    "geometry.data.mixture": "geometry.sampling.mixture",
    "geometry.data.procedural": "geometry.worlds",
    "geometry.data.procedural_samples": "geometry.worlds.samples",
    "geometry.data.sampling_dataset": "geometry.sampling.dataset",
    "geometry.data.virtual_cameras": "geometry.sampling.virtual_cameras",
    "geometry.training.prepared": "geometry.worlds.cached",
}

# Settings that came later, with a default other than null: a run stored without them was not changed by who
# resumes it.
LATER = frozenset(
    {
        "loop.guard.skips_in_all",
        "loop.guard.skips_in_row",
        "loop.most_broken",
        "loop.parallel.gather",
        "loop.parallel.reduce",
        "loop.saving.behind",
        "export.best",
        "loop.schedule.power",
        "loop.skip_steps",
        "loss.opacity",
        "loss.size",
        "model.drop_path",
        "opacity",
        "patience",
        "size",
        "step.layer_decay",
        "step.model.drop_path",
        "step.objective.opacity",
        "step.objective.size",
    }
)


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """The config as JSON gives it back, so that it can be stored and compared."""
    try:
        return json.loads(json.dumps(config))
    except TypeError as error:
        raise InputError(f"config must hold plain values only, to be stored as JSON: {error}") from error


def with_present_names(config: Any) -> Any:
    """A stored config in which every ``_target_`` names the place where that class or function is today."""
    if isinstance(config, dict):
        return {
            key: present_name(value) if key == "_target_" else with_present_names(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [with_present_names(value) for value in config]
    return config


def present_name(target: str) -> str:
    """Dotted name of a class or function, as it is today."""
    moved = max((m for m in MOVED if f"{target}.".startswith(f"{m}.")), key=len, default="")
    return MOVED.get(moved, "") + target.removeprefix(moved)


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Readable differences of two nested configs."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, f"{prefix}{key}.")
        elif before != after and not (key not in old and f"{prefix}{key}" in LATER):
            found.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return found

"""The config of a run as it is stored with checkpoints: plain values, comparable."""

import json
from typing import Any

from geometry.errors import InputError


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """The config as JSON gives it back, so that it can be stored and compared."""
    try:
        return json.loads(json.dumps(config))
    except TypeError as error:
        raise InputError(f"config must hold plain values only, to be stored as JSON: {error}") from error


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Readable differences of two nested configs."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return found

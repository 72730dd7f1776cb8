"""A scene's index: what reading a scene finds out, in one small file. Pixels and depth stay where they are.

An .npz of arrays (cameras, sparse points, overlap) and one JSON text (names, paths, lenses). Lazy loaders of
maps are kept by the name of their function, which must be a ``read_...`` of this package, so that opening an
index runs nothing else.
"""

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from geometry.errors import reading
from geometry.formats.distortion import Lens
from geometry.scenes.scene import Frame, Scene

_ARRAYS = ("extrinsics", "intrinsics")
_PLAIN = [f.name for f in dataclasses.fields(Frame) if f.name not in _ARRAYS]
MOST_POINTS = 2048  # of one view


class CannotIndex(Exception):
    """The scene holds things of memory: pixels, or functions that are nobody's by name."""


def files_of(scene: Scene) -> list[Path]:
    """Every file that the frames are read from, each once."""
    found: dict[Path, None] = {}
    for frame in scene.frames:
        for value in (getattr(frame, name) for name in _PLAIN):
            given = (*value.args, *value.keywords.values()) if isinstance(value, partial) else (value,)
            found |= dict.fromkeys(v for v in given if isinstance(v, Path))
    return list(found)


def write_index(out: Path | BinaryIO, scene: Scene, place: Callable[[Path], str], **extra: Any) -> None:
    """Write a scene's index.

    Args:
        place: what a path is called in the index; relative ones are looked for from the index's base.
        extra: JSON values beside the scene.

    Raises:
        CannotIndex: the scene is not made of files.
    """
    described = {"scene": _scene_values(scene), "frames": [_values(f, _PLAIN) for f in scene.frames], **extra}
    arrays = {f"frames.{n}": _stacked([getattr(f, n) for f in scene.frames]) for n in _ARRAYS}
    if scene.points is not None:
        origin = scene.points.mean(axis=0) if len(scene.points) else np.zeros(3)
        arrays["points"], arrays["points.origin"] = (scene.points - origin).astype(np.float32), origin
    if scene.visibility is not None:
        arrays["visibility"] = np.concatenate([*scene.visibility, np.empty(0)]).astype(np.int32)
        arrays["visibility.counts"] = np.array([len(rows) for rows in scene.visibility])
    if scene.overlap is not None:
        arrays["overlap"] = scene.overlap
    text = json.dumps(described, default=partial(_encode, place))
    with out.open("wb") if isinstance(out, Path) else nullcontext(out) as file:
        np.savez_compressed(file, json=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]


def read_index(path: Path, base: Path) -> tuple[Scene, dict[str, Any]]:
    """The scene, and what was written beside it.

    Raises:
        InputError: the file is damaged.
    """
    with reading(path, "the index of a scene"):
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        described = json.loads(arrays["json"].tobytes(), object_hook=partial(_decode, base))
        return _scene(arrays, described), described


def reduced(scene: Scene) -> Scene:
    """The scene with `MOST_POINTS` sparse points of a view at most, those that most views saw; others go."""
    if scene.visibility is None:
        return dataclasses.replace(scene, points=None)
    seen_by = np.bincount(np.concatenate([*scene.visibility, np.empty(0, int)]), minlength=len(scene.points))  # type: ignore[arg-type]
    visibility = [
        rows if len(rows) <= MOST_POINTS else rows[np.argsort(-seen_by[rows], kind="stable")[:MOST_POINTS]]
        for rows in scene.visibility
    ]
    kept, places = np.unique(np.concatenate([*visibility, np.empty(0, int)]), return_inverse=True)
    split = np.split(places, np.cumsum([len(rows) for rows in visibility])[:-1])
    return dataclasses.replace(scene, points=scene.points[kept], visibility=tuple(np.sort(s) for s in split))  # type: ignore[index]


def _scene_values(scene: Scene) -> dict[str, Any]:
    return _values(scene, ["name", "source", "estimated", "metric", "origin", "folder"])


def _values(record: Any, names: list[str]) -> dict[str, Any]:
    """Fields that differ from their default."""
    defaults = {f.name: f.default for f in dataclasses.fields(record)}
    values = {name: getattr(record, name) for name in names}
    return {name: value for name, value in values.items() if value is not defaults[name]}


def _stacked(matrices: list[np.ndarray | None]) -> np.ndarray:
    """One array; NaN stands for none."""
    size = 4 if any(m is not None and len(m) == 4 for m in matrices) else 3
    return np.array([np.full((size, size), np.nan) if m is None else m for m in matrices]).reshape(
        -1, size, size
    )


def _encode(place: Callable[[Path], str], value: Any) -> Any:
    if isinstance(value, Path):
        return {"$path": place(value)}
    if isinstance(value, np.ndarray):
        return {"$array": value.tolist()}
    if isinstance(value, Lens):
        return {"$lens": dataclasses.asdict(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, partial):
        function = f"{value.func.__module__}:{getattr(value.func, '__qualname__', '')}"
        if _allowed(function):
            return {"$read": function, "args": value.args, "kwargs": value.keywords}
    raise CannotIndex(f"expected photos and maps in files, got {type(value).__name__}")


def _allowed(function: str) -> bool:
    module, _, name = function.partition(":")
    return module.startswith("geometry.") and name.startswith("read_") and name.isidentifier()


def _decode(base: Path, value: dict[str, Any]) -> Any:
    if "$path" in value:
        return base / value["$path"]
    if "$array" in value:
        return np.asarray(value["$array"])
    if "$lens" in value:
        return Lens(**{k: tuple(v) if isinstance(v, list) else v for k, v in value["$lens"].items()})  # type: ignore[arg-type]
    if "$read" in value:
        if not _allowed(value["$read"]):
            raise ValueError(f"{value['$read']} reads no map")
        module, _, name = value["$read"].partition(":")
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"there is no {module}")
        args = (tuple(a) if isinstance(a, list) else a for a in value["args"])
        return partial(getattr(importlib.import_module(module), name), *args, **value["kwargs"])
    return value


def _scene(arrays: dict[str, np.ndarray], described: dict[str, Any]) -> Scene:
    frames = []
    for plain, *matrices in zip(
        described["frames"], *(arrays[f"frames.{name}"] for name in _ARRAYS), strict=True
    ):
        cameras = {n: None if np.isnan(m[0, 0]) else m for n, m in zip(_ARRAYS, matrices)}
        lists = {n: tuple(v) for n, v in plain.items() if isinstance(v, list)}  # sizes, colours
        frames.append(Frame(**{**plain, **lists, **cameras}))
    points, visibility = arrays.get("points"), arrays.get("visibility")
    if points is not None:
        points = points.astype(np.float64) + arrays["points.origin"]
    if visibility is not None:
        visibility = tuple(np.split(visibility, np.cumsum(arrays["visibility.counts"])[:-1]))
    return Scene(
        **described["scene"],
        frames=tuple(frames),
        points=points,
        visibility=visibility,
        overlap=arrays.get("overlap"),
    )

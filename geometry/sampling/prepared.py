"""Scenes from their indices: reading one takes milliseconds, and a sample then opens only its own files.

The index of a scene (`geometry.scenes.index`) is made when it is first asked for, or by ``geometry data
prepare`` and ``geometry data index``. It knows size and time of the files that it was made from, and is made
anew when they change.
"""

import hashlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import MISSING, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import quote

from geometry.atomic import atomic_file
from geometry.datasets.sources import DataSet, SceneSource
from geometry.errors import InputError
from geometry.sampling.overlap import overlap_of
from geometry.scenes.index import CannotIndex, files_of, read_index, reduced, write_index
from geometry.scenes.scene import Scene
from geometry.weights.hub import cache_folder

FOLDER = ".scene_index"  # in the root of a data set
_FORMAT = 1
_FEW = 16  # files in a folder of cameras that are looked at one by one
# Options that choose scenes and change none.
_CHOOSING = ("root", "scenes", "exclude", "categories", "kinds", "least_quality", "index")


def prepared(source: SceneSource, name: str) -> Scene:
    """A scene with the overlap of its views, from its index where that is there and still true.

    Sparse points are those that a sample may need (`geometry.scenes.index.reduced`).

    Raises:
        InputError: as ``source.read(name)``.
    """
    if not isinstance(source, DataSet):
        scene = source.read(name)
        return scene if scene.overlap is not None else replace(scene, overlap=overlap_of(scene))
    for path in _places(source, name):
        if (scene := _stored(path, source.base)) is not None:
            return scene
    return _made(source, name)


def prepare_all(source: SceneSource, jobs: int) -> Iterator[tuple[str, str]]:
    """Index every scene that has no true index, in so many processes: each name, and why it failed or ""."""
    attempt = partial(_attempt, source)
    if jobs == 1 or len(source) < 8:  # not worth new processes
        yield from ((name, attempt(name)) for name in source.names)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        yield from zip(source.names, pool.map(attempt, source.names, chunksize=4))


def _attempt(source: SceneSource, name: str) -> str:
    try:
        prepared(source, name)
    except InputError as error:
        return str(error)
    return ""


def _made(source: DataSet, name: str) -> Scene:
    """Read the scene, and store its index in the first place that can be written to."""
    scene = source.read(name)
    stamps = _stamps(source, scene)  # before the maps are read: a change meanwhile makes the index stale
    scene = reduced(replace(scene, overlap=overlap_of(scene)))
    for path in _places(source, name):
        try:
            with atomic_file(path) as temporary:
                write_index(temporary, scene, partial(_relative, source.base), stamps=stamps)
        except CannotIndex:
            break
        except (InputError, OSError) as error:
            failure = error
        else:
            break
    else:
        warnings.warn(
            f"{name}: the scene's index cannot be kept, so it is made each time: {failure}", stacklevel=3
        )
    return scene


def _stored(path: Path, base: Path) -> Scene | None:
    """The scene of an index; None if there is none, it is damaged, or what it was made from has changed."""
    if not path.is_file():
        return None
    try:
        scene, described = read_index(path, base)
    except InputError as error:
        warnings.warn(f"{error}; it is made anew", stacklevel=3)
        return None
    stamps = described["stamps"]
    return scene if stamps == _stamp(base, list(stamps)) else None


def _places(source: DataSet, name: str) -> tuple[Path, Path]:
    """Where a scene's index may lie: in the data set, or where that is read-only in the user's cache.

    Options that change scenes have indices of their own.
    """
    defaults = {f.name: f.default for f in fields(source)}
    options = {n: getattr(source, n) for n in defaults if n not in _CHOOSING}
    changed = [f"{n}={v}" for n, v in sorted(options.items()) if defaults[n] is MISSING or v != defaults[n]]
    reader = type(source)
    key = _digest(f"{_FORMAT} {reader.__module__}.{reader.__qualname__} {changed}")
    inner = Path(f"{reader.__name__.lower()}-{key}", f"{quote(name)}.npz")
    root = _digest(str(source.base.resolve()))
    return source.base / FOLDER / inner, cache_folder() / "scenes" / root / inner


def _stamps(source: DataSet, scene: Scene) -> dict[str, list[int]]:
    """What an index depends on: the files of cameras, and the folders of photos and maps."""
    folders = {path.parent for path in files_of(scene)}
    files: set[Path] = set()
    for place in source.camera_files(scene):
        if place.is_dir():
            folders.add(place)
            inside = [p for p in place.iterdir() if p.is_file()]
            files.update(inside if len(inside) <= _FEW else [])
        else:
            files.add(place)
    return _stamp(source.base, [_relative(source.base, path) for path in sorted(folders | files)])


def _stamp(base: Path, names: list[str]) -> dict[str, list[int]]:
    """Time and size of files; the time of folders, which changes when a file comes or goes."""
    stamps: dict[str, list[int]] = {}
    for name in names:
        try:
            facts = (base / name).stat()
        except OSError:
            stamps[name] = []
            continue
        stamps[name] = [facts.st_mtime_ns] if (base / name).is_dir() else [facts.st_mtime_ns, facts.st_size]
    return stamps


def _relative(base: Path, path: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path.absolute())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

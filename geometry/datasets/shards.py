"""Scenes packed into tar files of about a gigabyte: for object stores, and disks that dislike small files.

``shards.json`` lists the scenes of each ``000000.tar``. In a tar every scene is a folder: ``index.npz``
(`geometry.scenes.index`), then the files of its frames as they were, so that a packed scene gives the very
samples of the unpacked one. The tars are webdataset's; that library writes them, fetches and reads them
(https://, gs://, ``pipe:aws s3 cp ... -``).

Training takes its samples from a few tars at a time, unpacked on a local disk, and moves on by one every so
many steps. Which ones is a function of the run's seed and the step, so a resumed run goes on with the same
samples.
"""

import fcntl
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np

from geometry.atomic import atomic_file
from geometry.datasets.sources import Choice, SceneSource, chosen_scenes
from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError, reading
from geometry.scenes.index import files_of, read_index, write_index
from geometry.scenes.scene import Scene
from geometry.weights.hub import cache_folder

MANIFEST = "shards.json"
INDEX = "index.npz"


@dataclass(eq=False)
class Shards(SceneSource):
    """Packed scenes, of any data set.

    Args:
        root: folder of ``shards.json`` and the tars: a path, or a URL or ``pipe:`` command with ``{}`` in the
            file's place, for example ``pipe:aws s3 cp s3://bucket/dl3dv/{} -``.
        scenes: names to take, or a text file with one per line; None takes all.
        cache: local folder to unpack to; None takes one in the user's cache. Give two runs on a machine two,
            where they may not fit one disk twice.
        pool: tars that samples are taken from at a time; twice as many stay on the disk.
        steps_of_shard: training steps after which the oldest of them is replaced by the next one.

    Raises:
        InputError: no manifest there.
    """

    root: str | Path
    _: KW_ONLY
    scenes: Choice = None
    cache: str | Path | None = None
    pool: int = 8
    steps_of_shard: int = 50

    def __post_init__(self) -> None:
        where = self._url(MANIFEST)
        with reading(where, "the list of a set's tars, written by geometry data pack"):
            with closing(_open(where)) as file:
                self._shards = json.loads(file.read())["shards"]
            known = [name for shard in self._shards for name in shard["scenes"]]
        self.names = chosen_scenes(known, self.scenes, Path(str(self.root)))
        wanted = set(self.names)
        self._place = {
            name: (number, place)
            for number, shard in enumerate(self._shards)
            for place, name in enumerate(shard["scenes"])
            if name in wanted
        }
        self._in_shard: dict[int, list[str]] = {}
        for name, (number, _) in self._place.items():
            self._in_shard.setdefault(number, []).append(name)
        base = cache_folder() / "shards" if self.cache is None else Path(self.cache).expanduser()
        self._home = base / hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder was written by `pack`."""
        return (root / MANIFEST).is_file()

    def draw(self, rng: np.random.Generator, request: SampleRequest) -> str:
        """A scene of the tars whose turn it is, in an order that the run's seed shuffles in each epoch."""
        shards, first = list(self._in_shard), request.step // self.steps_of_shard
        pool: dict[int, None] = {}
        while len(pool) < min(self.pool, len(shards)):
            epoch, place = divmod(first, len(shards))
            shuffle = np.random.default_rng(derive_seed(request.run_seed, "shards", epoch))
            pool[shards[shuffle.permutation(len(shards))[place]]] = None
            first += 1
        names = [name for shard in pool for name in self._in_shard[shard]]
        return names[int(rng.integers(len(names)))]

    def read(self, name: str) -> Scene:
        if name not in self._place:
            raise InputError(f"{self.root}: expected a scene among {len(self.names)}, got {name}")
        number, place = self._place[name]
        folder = self._unpacked(number) / _folder(place)
        return read_index(folder / INDEX, folder)[0]

    def _url(self, name: str) -> str:
        root = str(self.root)
        if "{}" in root:
            return root.replace("{}", name)
        return f"{root.rstrip('/')}/{name}" if "://" in root else str(Path(root).expanduser() / name)

    def _unpacked(self, number: int) -> Path:
        """The folder of a tar's files, fetched if it is not here; older ones make room."""
        folder = self._home / f"{number:06d}"
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / f"{number:06d}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of many loader workers one fetches
            if not folder.is_dir():
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a worker that was killed
                self._unpack(self._url(self._shards[number]["file"]), partial)
                partial.rename(folder)
                self._make_room()
            folder.touch()
        return folder

    def _unpack(self, url: str, out: Path) -> None:
        with reading(url, "a tar of scenes"), _tar_errors(), closing(_open(url)) as stream:
            for file in _webdataset().tariterators.tar_file_iterator(stream):
                path = out / file["fname"]
                if not path.resolve().is_relative_to(out.resolve()):
                    raise InputError(f"{url}: expected files of its own folder, got {file['fname']}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file["data"])

    def _make_room(self) -> None:
        """Of unpacked tars those used last stay, more than samples are taken from now."""
        there = sorted(self._home.glob("[0-9]*[0-9]"), key=lambda folder: folder.stat().st_mtime)
        for old in there[: -2 * self.pool]:
            doomed = old.with_suffix(".removed")
            old.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def pack(
    scenes: Iterable[Scene], out: Path, *, labels: str | None = None, shard_bytes: int = 1_000_000_000
) -> Iterator[str]:
    """Write scenes as tars and their manifest; each scene's name when it is packed.

    Args:
        scenes: with their overlap (`geometry.sampling.prepared`).
        labels: name of a folder beside each scene's data that goes along (``teacher_depth``).
        shard_bytes: a tar is full beyond this; scenes are never cut.

    Raises:
        InputError: the folder has packed scenes already, or a file cannot be read.
    """
    if (out / MANIFEST).exists():
        raise InputError(
            f"{out}: expected a folder without packed scenes, found {MANIFEST}; give another one"
        )
    out.mkdir(parents=True, exist_ok=True)
    shards: list[dict] = []
    waiting = iter(scenes)
    for scene in waiting:
        name = f"{len(shards):06d}.tar"
        with (
            atomic_file(out / name) as temporary,
            _webdataset().TarWriter(str(temporary), encoder=False, mtime=0) as tar,
        ):
            packed: list[str] = []
            for one in chain([scene], waiting):
                _write_scene(tar, _folder(len(packed)), one, labels)
                packed.append(one.name)
                yield one.name
                if temporary.stat().st_size >= shard_bytes:
                    break
        shards.append({"file": name, "scenes": packed})
    with atomic_file(out / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"format": 1, "shards": shards}, indent=1), encoding="utf-8")


def _write_scene(tar: Any, folder: str, scene: Scene, labels: str | None) -> None:
    """The index first, then each file under a name of its place in the list of files."""
    files = files_of(scene)
    names = {path: f"files/{number:06d}{path.suffix}" for number, path in enumerate(files)}
    index = io.BytesIO()
    write_index(index, replace(scene, folder=Path()), lambda path: names.get(path, "."))
    _add(tar, f"{folder}/{INDEX}", index.getvalue())
    home = None if labels is None or scene.folder is None else scene.folder / labels
    if home is not None:
        names |= {p: f"{labels}/{p.relative_to(home)}" for p in sorted((home / scene.name).rglob("*.npz"))}
    for path, name in names.items():
        with reading(path, "a file of a frame"):
            _add(tar, f"{folder}/{name}", path.read_bytes())


def _add(tar: Any, name: str, content: bytes) -> None:
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")  # as webdataset takes a name apart
    tar.write({"__key__": str(path.with_name(stem)), suffix: content})


@contextmanager
def _tar_errors() -> Iterator[None]:
    try:
        yield
    except tarfile.TarError as error:  # with the open stream as a second argument
        raise ValueError(error.args[0]) from error


def _folder(place: int) -> str:
    return f"{place:06d}"


def _open(url: str) -> io.BufferedIOBase:
    if "://" in url or url.startswith("pipe:"):
        return _webdataset().gopen(url)
    return Path(url).open("rb")  # type: ignore[return-value]


def _webdataset() -> ModuleType:
    try:
        import webdataset
    except ImportError:
        raise InputError('packed scenes need webdataset: pip install "feedforward-nvs[shards]"') from None
    return webdataset

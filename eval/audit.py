"""Which scenes of a training configuration are in a benchmark: by id, by the bytes of photos, by their look.

Two photos look alike if their difference hashes (Krawetz 2013, 16 x 16 signs of horizontal gradients of the
grey photo) differ in few bits. A photo that is nearly flat has no such hash: its signs are noise.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from eval.run_folder import write_json
from geometry.console import say
from geometry.datasets.sources import SceneSource
from geometry.errors import InputError, PhotoError
from geometry.scenes.scene import Frame, Scene
from geometry.scenes.view_selection import evenly_spaced

BITS = 256
NEAR = 20  # bits: unrelated photos differ in 128 +- 8 of them
_LEAST_CONTRAST = 2.0  # grey levels: mean absolute gradient of the small photo


@dataclass(frozen=True, kw_only=True)
class Match:
    """A training scene in a benchmark scene."""

    training: str  # "<source>: <scene>"
    benchmark: str
    reason: str  # "id", "photo" or "near-duplicate"
    photos: int  # that match; 0 for an id
    example: tuple[str, str] | None  # names of two that do

    def as_json(self) -> dict[str, object]:
        return {**vars(self), "example": None if self.example is None else list(self.example)}


@dataclass(frozen=True)
class _Seen:
    """Photos of one scene, as they are compared."""

    names: tuple[str, ...]
    digests: tuple[str, ...]  # SHA-256 of the files; of pixels where a photo is none
    looks: UInt8[np.ndarray, "N 32"]
    contrast: Float[np.ndarray, " N"]


def audit(
    training: dict[str, SceneSource], benchmark: SceneSource, *, photos: int | None = 20, near: int = NEAR
) -> list[Match]:
    """Scenes of training that are in the benchmark, one match for each pair: the surest reason.

    Args:
        training: sources by the name of their part of the configuration.
        photos: of a training scene that are looked at, evenly spaced; None: all, as of a benchmark scene.
        near: bits of `BITS` in which hashes of near-duplicates differ at most.
    """
    theirs = {name: _seen(benchmark.read(name), None) for name in benchmark.names}
    ids = {_key(name): name for name in theirs}
    found: list[Match] = []
    for part, source in training.items():
        say(f"{part}: {len(source)} scenes")
        for name in source.names:
            label = f"{part}: {name}"
            if _key(name) in ids:
                same = ids[_key(name)]
                found.append(Match(training=label, benchmark=same, reason="id", photos=0, example=None))
                continue
            try:
                ours = _seen(source.read(name), photos)
            except InputError as error:
                say(f"WARNING: {label} was not looked at: {error}")
                continue
            found += [m for other, seen in theirs.items() if (m := _compare(label, ours, other, seen, near))]
    return found


def _key(name: str) -> str:
    """A scene's id without the folders that sets and their mirrors put around it."""
    parts = [part for part in name.lower().split("/") if part not in ("nerfstudio", "dense0", "images")]
    return "/".join(parts[-1:]) if len(parts[-1]) >= 8 else "/".join(parts)


def _seen(scene: Scene, count: int | None) -> _Seen:
    frames: Sequence[Frame] = scene.frames
    if count is not None:
        frames = [frames[i] for i in evenly_spaced(len(frames), min(count, len(frames)))]
    names, digests, looks, contrast = [], [], [], []
    for frame in frames:
        try:
            digest, (bits, steps) = _digest(frame), look(frame.load())
        except PhotoError as error:
            say(f"WARNING: {error}")
            continue
        names.append(frame.name)
        digests.append(digest)
        looks.append(bits)
        contrast.append(steps)
    stacked = np.stack(looks) if looks else np.zeros((0, BITS // 8), np.uint8)
    return _Seen(tuple(names), tuple(digests), stacked, np.array(contrast))


def _digest(frame: Frame) -> str:
    data = frame.image.read_bytes() if isinstance(frame.image, Path) else frame.load().tobytes()
    return hashlib.sha256(data).hexdigest()


def look(photo: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, " 32"], float]:
    """The photo's hash, and the mean step of grey between the pixels that it compares."""
    small = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (17, 16), interpolation=cv2.INTER_AREA)
    steps = np.diff(small.astype(np.int16), axis=1)
    return np.packbits(steps > 0), float(np.abs(steps).mean())


def _compare(label: str, ours: _Seen, other: str, theirs: _Seen, near: int) -> Match | None:
    same = dict(zip(theirs.digests, theirs.names))
    equal = [(name, same[digest]) for name, digest in zip(ours.names, ours.digests) if digest in same]
    if equal:
        return Match(training=label, benchmark=other, reason="photo", photos=len(equal), example=equal[0])
    if not len(ours.looks) or not len(theirs.looks):
        return None
    bits = np.unpackbits(ours.looks[:, None] ^ theirs.looks[None], axis=-1).sum(-1, dtype=int)
    rough = np.minimum.outer(ours.contrast, theirs.contrast) < _LEAST_CONTRAST
    distance = np.where(rough, BITS, bits)
    pairs = np.argwhere(distance <= near)
    if not len(pairs):
        return None
    i, j = min(pairs, key=lambda pair: distance[tuple(pair)])
    example = (ours.names[i], theirs.names[j])
    count = len({pair[0] for pair in pairs})
    return Match(training=label, benchmark=other, reason="near-duplicate", photos=count, example=example)


def footnote(matches: Sequence[Match], scenes: int, training: str) -> str:
    """What a table says."""
    if not matches:
        return f"none of the {scenes} scenes was found in the training data {training}"
    touched = sorted({match.benchmark for match in matches})
    reasons = ", ".join(sorted({match.reason for match in matches}))
    named = ", ".join(touched[:5]) + (", ..." if len(touched) > 5 else "")
    return (
        f"{len(touched)} of {scenes} scenes occur in the training data {training} (by {reasons}): {named}; "
        "its numbers on them are not of unseen data"
    )


def write_audit(path: Path, matches: Iterable[Match], note: str) -> None:
    """The findings as JSON; `nvs-eval table` reads ``note`` where the file is a run's audit.json."""
    if path.is_file():
        try:
            ours = "matches" in json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            ours = False
        if not ours:
            raise InputError(f"{path}: expected no file or an earlier audit, got another file")
    write_json(path, {"note": note, "matches": [match.as_json() for match in matches]})

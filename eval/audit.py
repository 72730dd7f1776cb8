"""Which scenes of a training configuration are in a benchmark: by id, by the bytes of photos, by their look.

Two photos look alike if their difference hashes (Krawetz 2013, 16 x 16 signs of horizontal gradients of the
grey photo) differ in few bits, or that of one and of a part about the centre of the other, or of its mirror
image. A photo that is nearly flat has no such hash: its signs are noise.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from eval.protocols.splits import Split
from eval.run_folder import write_json
from geometry.console import say
from geometry.datasets.sources import SceneSource
from geometry.errors import InputError, PhotoError
from geometry.scenes.scene import Frame, Scene
from geometry.scenes.view_selection import evenly_spaced

BITS = 256
NEAR = 28  # bits: unrelated photos differ in 128 +- 8 of them; the nearest parts of two captures in 90
_PARTS = np.arange(
    1.0, 0.69, -0.03
)  # sides of parts of the photo's shape; between two of them few bits change
_SHAPES = (1, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)  # width / height of the largest other parts
_SIDE = 128  # pixels of the photo that parts are cut from
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
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
    looks: UInt8[np.ndarray, "N K 32"]  # of the whole photo first
    contrast: Float[np.ndarray, " N"]


def audit(
    training: dict[str, SceneSource],
    benchmark: SceneSource,
    *,
    split: Split | None = None,
    photos: int | None = 20,
    near: int = NEAR,
) -> list[Match]:
    """Scenes of training that are in the benchmark, one match for each pair: the surest reason.

    Args:
        training: sources by the name of their part of the configuration.
        split: whose scenes and photos are looked at; None: all of the benchmark's.
        photos: of a training scene that are looked at, evenly spaced; None: all, as of a benchmark scene.
        near: bits of `BITS` in which hashes of near-duplicates differ at most.
    """
    shown = {s.name: {*s.context, *s.targets} for s in split.scenes} if split else {}
    theirs = {name: _seen(benchmark.read(name), None, shown.get(name)) for name in shown or benchmark.names}
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


def _seen(scene: Scene, count: int | None, only: set[str] | None = None) -> _Seen:
    frames: Sequence[Frame] = [f for f in scene.frames if only is None or f.name in only]
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
    return _Seen(tuple(names), tuple(digests), np.array(looks), np.array(contrast))


def _digest(frame: Frame) -> str:
    data = frame.image.read_bytes() if isinstance(frame.image, Path) else frame.load().tobytes()
    return hashlib.sha256(data).hexdigest()


def look(photo: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "K 32"], float]:
    """Hashes of the photo, its mirror image and its parts; the mean step between the pixels of the first."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    factor = min(1.0, _SIDE / max(grey.shape))
    grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    H, W = grey.shape
    sizes = [(H * s, W * s) for s in _PARTS] + [(min(H, W / a), min(W, H * a)) for a in _SHAPES]
    parts = [
        cv2.getRectSubPix(grey, (max(1, round(w)), max(1, round(h))), (W / 2 - 0.5, H / 2 - 0.5))
        for h, w in sizes
    ]
    small = [cv2.resize(p, (17, 16), interpolation=cv2.INTER_AREA) for p in (*parts, grey[:, ::-1])]
    steps = np.diff(np.array(small, np.int16), axis=2)
    return np.packbits(steps.reshape(len(steps), -1) > 0, axis=1), float(np.abs(steps[0]).mean())


def _compare(label: str, ours: _Seen, other: str, theirs: _Seen, near: int) -> Match | None:
    same = dict(zip(theirs.digests, theirs.names))
    equal = [(name, same[digest]) for name, digest in zip(ours.names, ours.digests) if digest in same]
    if equal:
        return Match(training=label, benchmark=other, reason="photo", photos=len(equal), example=equal[0])
    if not len(ours.looks) or not len(theirs.looks):
        return None
    pairs = ours.looks[:, None], theirs.looks[None]  # the whole of one with any part of the other
    both = [pairs[0][..., :1, :] ^ pairs[1], pairs[0] ^ pairs[1][..., :1, :]]
    bits = np.minimum(*(_ONES[differ].sum(axis=-1, dtype=int).min(axis=-1) for differ in both))
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

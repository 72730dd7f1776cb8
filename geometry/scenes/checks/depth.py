"""Do depth, poses and intrinsics of a scene belong together, and if not, which convention is off?

A pixel's depth, carried into another view of the same scene, must be the depth stored there, or lie behind
it. The share of pixels for which it is tells a right reading from a wrong one, and trying the usual
mistakes tells what is wrong: poses inverted or with other camera axes, rotation transposed, the centre in
place of the translation, distance along the ray in place of z, another unit of depth, intrinsics of
another resolution.

What this cannot see: half a pixel in the principal point, a whole world that is mirrored, and whether
depth fits the photo rather than the cameras.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from geometry.scenes.checks.cameras import HYPOTHESES, candidates
from geometry.scenes.scene import Scene
from geometry.scenes.view_selection import evenly_spaced

TOLERANCE = 0.03  # relative difference of depth that counts as agreement
_SAMPLES = (16, 24)  # rows and columns of pixels looked at in each view
_ANCHORS = 5
_STEPS = (1, 2, 4, 8, 16)  # partners in capture order, so that wrong poses do not choose them
_FEW = 100  # samples below which nothing is decided
_GOOD = 0.5  # share of samples with depth in both views that must agree
_FINE = 0.005  # relative difference below which rendered depth and sensors need not agree any better
_CLEAR = 0.8  # a reading stands out if every rival has less than this part of its score

POSES = HYPOTHESES | {
    "transposed": "with their rotations transposed, that is read column by column",
    "centres": "with the camera's centre in place of the translation",
}
DEPTHS = {"z": "as it is", "ray": "read as distance along the ray, not z"}
UNITS = {
    s: f"times {s:g}"
    for s in (1.0, 1e-3, 1e-2, 0.1, 10.0, 100.0, 1e3, 0.2, 5.0, 0.25, 4.0, 0.0254, 1 / 0.0254)
}
FOCALS = {s: f"for an image {s:g} times as large" for s in (1.0, 0.125, 0.25, 0.5, 2.0, 4.0, 8.0)}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read the files."""

    poses: str = "given"
    depth: str = "z"
    unit: float = 1.0
    intrinsics: float = 1.0

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, in words."""
        parts = []
        if self.poses != "given":
            parts.append(f"the poses {POSES[self.poses]}")
        if self.depth != "z":
            parts.append(f"depth {DEPTHS[self.depth]}")
        if self.unit != 1:
            parts.append(f"depth {UNITS[self.unit]}")
        if self.intrinsics != 1:
            parts.append(f"the intrinsics {FOCALS[self.intrinsics]}")
        return tuple(parts)


@dataclass(frozen=True, kw_only=True)
class DepthVerdict:
    """What reprojection says about a scene."""

    verdict: str  # "consistent", "contradiction" or "undecided"
    agreement: float  # share of samples, of those with depth in both views, that agree as the files are read
    difference: float  # their median relative difference of depth, NaN without samples
    samples: int
    better: Reading | None = None  # the reading that would be consistent; None if no change mends it
    rivals: tuple[Reading, ...] = ()  # readings that the views cannot tell from the one found


@dataclass(frozen=True, eq=False)
class _View:
    pixels: np.ndarray  # [P, 2], of the photo
    z: np.ndarray  # [P], depth there as stored
    depth: np.ndarray  # the whole map
    size: tuple[int, int]  # of the photo


def check_depth(scene: Scene) -> DepthVerdict:
    """Weigh the usual mistakes against the scene's own depth; needs posed frames with depth."""
    pairs = _pairs(scene)
    views = {v: _view(scene, v) for pair in pairs for v in pair}
    pairs = [(i, j) for i, j in pairs if views[i] is not None and views[j] is not None]
    given = _score(scene, views, pairs, [Reading()])[0] if pairs else (0.0, 0.0, np.nan, 0)
    samples = sum(len(views[i].z) for i, _ in pairs)
    if samples < _FEW:
        return DepthVerdict(verdict="undecided", agreement=0.0, difference=np.nan, samples=samples)
    readings = [
        Reading(poses=p, depth=d, unit=u, intrinsics=f)
        for p, d, u, f in product(POSES, DEPTHS, UNITS, FOCALS)
    ]
    # The most common mistakes are single ones: those are preferred to combinations that fit as well.
    readings.sort(key=lambda r: len(r.changes))
    readings = [r for r in readings if len(r.changes) <= 2]
    scores = _score(scene, views, pairs, readings)
    share = np.array([s[0] for s in scores])
    agreeing = np.array([s[1] for s in scores])
    weight = share * np.array([0.95 ** len(r.changes) for r in readings])
    best = int(weight.argmax())
    report: dict[str, Any] = {"agreement": float(given[1]), "difference": float(given[2]), "samples": samples}
    if agreeing[best] < _GOOD or scores[best][3] < _FEW:
        compared = given[3] >= _FEW
        return DepthVerdict(verdict="contradiction" if compared else "undecided", **report)
    # Ray and z differ little in the middle of the image: there a finer look decides.
    finer = given[2] > max(3 * scores[best][2], _FINE) and share[best] > share[0]
    if weight[0] >= _CLEAR * weight[best] and agreeing[0] >= _GOOD and not finer:
        rivals = tuple(
            r for r, w in zip(readings[1:], weight[1:]) if w >= 0.9 * weight[0] and len(r.changes) == 1
        )
        return DepthVerdict(verdict="consistent", rivals=rivals, **report)
    rivals = tuple(
        r
        for k, r in enumerate(readings)
        if k != best and weight[k] >= 0.95 * weight[best] and len(r.changes) <= len(readings[best].changes)
    )
    return DepthVerdict(verdict="contradiction", better=readings[best], rivals=rivals, **report)


def _pairs(scene: Scene) -> list[tuple[int, int]]:
    n = len(scene)
    pairs = set()
    for anchor in evenly_spaced(n, _ANCHORS):
        for step in _STEPS:
            other = anchor + step if anchor + step < n else anchor - step
            if 0 <= other < n and other != anchor:
                pairs.add((anchor, other))
    return sorted(pairs)


def _view(scene: Scene, index: int) -> _View | None:
    frame = scene.frames[index]
    depth = frame.load_depth()
    if depth is None:
        return None
    H, W = frame.image_size
    h, w = depth.shape
    # Centres of depth pixels: a place between them has no depth of its own.
    rows = np.unique(((np.arange(_SAMPLES[0]) + 0.5) * h / _SAMPLES[0]).astype(int))
    columns = np.unique(((np.arange(_SAMPLES[1]) + 0.5) * w / _SAMPLES[1]).astype(int))
    rows, columns = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
    z = depth[rows, columns]
    pixels = np.stack(((columns + 0.5) * W / w, (rows + 0.5) * H / h), axis=-1)
    if not (z > 0).any():
        return None
    return _View(pixels[z > 0], z[z > 0].astype(np.float64), depth, (H, W))


def _score(
    scene: Scene, views: dict[int, _View | None], pairs: list[tuple[int, int]], readings: Iterable[Reading]
) -> list[tuple[float, float, float, int]]:
    """Per reading: agreeing share of all samples, of those with depth in both, median difference, count."""
    extrinsics = scene.extrinsics
    poses = candidates(extrinsics) | _more_candidates(extrinsics)
    rays: dict[tuple[int, float], np.ndarray] = {}
    results = []
    total = sum(len(views[i].z) for i, _ in pairs)
    for reading in readings:
        E = poses[reading.poses]
        differences, hidden = [], 0
        for i, j in pairs:
            view, other = views[i], views[j]
            key = i, reading.intrinsics
            if key not in rays:
                K = _resized(scene.frames[i].intrinsics, reading.intrinsics)
                p = np.concatenate((view.pixels, np.ones_like(view.pixels[:, :1])), -1)
                rays[key] = p @ np.linalg.inv(K).T
            ray = rays[key]
            z = view.z * reading.unit
            if reading.depth == "ray":
                z = z / np.linalg.norm(ray, axis=1)
            relative = E[j] @ np.linalg.inv(E[i])
            local = (ray * z[:, None]) @ relative[:3, :3].T + relative[:3, 3]
            K = _resized(scene.frames[j].intrinsics, reading.intrinsics)
            difference, behind = _difference(local, K, other, reading)
            differences.append(difference)
            hidden += behind
        difference = np.concatenate(differences)
        agree = int((difference < TOLERANCE).sum())
        compared = len(difference) - hidden
        median = float(np.median(difference)) if len(difference) else np.nan
        results.append((agree / total, agree / compared if compared > 0 else 0.0, median, len(difference)))
    return results


def _difference(
    local: Float[np.ndarray, "P 3"], K: Float[np.ndarray, "3 3"], other: _View, reading: Reading
) -> tuple[Float[np.ndarray, " Q"], int]:
    """Relative difference of depth where both views have some, and how many points lie behind a surface.

    A point farther than what the other view shows is hidden, which happens in every scene; one in front
    of it contradicts.
    """
    H, W = other.size
    h, w = other.depth.shape
    ahead = local[:, 2] > 1e-9
    pixels = local[ahead] @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = (pixels >= 0).all(1) & (pixels < (W, H)).all(1)
    columns, rows = (pixels[inside] * (w / W, h / H)).astype(int).T
    stored = (
        other.depth[np.minimum(rows, h - 1), np.minimum(columns, w - 1)].astype(np.float64) * reading.unit
    )
    point = local[ahead][inside]
    reached = np.linalg.norm(point, axis=1) if reading.depth == "ray" else point[:, 2]
    known = stored > 0
    reached, stored = reached[known], stored[known]
    difference = np.abs(reached / stored - 1)
    return difference, int((reached > stored * (1 + TOLERANCE)).sum())


def _resized(K: Float[np.ndarray, "3 3"], factor: float) -> Float[np.ndarray, "3 3"]:
    return np.diag([factor, factor, 1.0]) @ K


def _more_candidates(extrinsics: Float[np.ndarray, "V 4 4"]) -> dict[str, Float[np.ndarray, "V 4 4"]]:
    transposed, centres = extrinsics.copy(), extrinsics.copy()
    transposed[:, :3, :3] = extrinsics[:, :3, :3].swapaxes(1, 2)
    centres[:, :3, 3] = -np.einsum("vij,vj->vi", extrinsics[:, :3, :3], extrinsics[:, :3, 3])
    return {"transposed": transposed, "centres": centres}

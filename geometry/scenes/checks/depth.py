"""Do depth, poses and intrinsics of a scene belong together, and if not, which convention is off?

A pixel's depth, carried into another view of the same scene, must be the depth stored there, or lie behind
it. The share of pixels for which it is tells a right reading from a wrong one, and trying the usual mistakes
(`POSES`, `DEPTHS`, `UNITS`, `FOCALS`) tells what is wrong. What this cannot see: half a pixel in the
principal point, a whole world that is mirrored, and whether depth fits the photo rather than the cameras.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from geometry.scenes.checks.cameras import HYPOTHESES, candidates
from geometry.scenes.scene import Frame, Scene
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


@dataclass(frozen=True)
class Reading:
    """One way to read the files."""

    poses: str = "given"
    depth: str = "z"
    unit: float = 1.0
    intrinsics: float = 1.0

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, in words."""
        parts = {
            f"the poses {POSES[self.poses]}": self.poses != "given",
            f"depth {DEPTHS[self.depth]}": self.depth != "z",
            f"depth {UNITS[self.unit]}": self.unit != 1,
            f"the intrinsics {FOCALS[self.intrinsics]}": self.intrinsics != 1,
        }
        return tuple(text for text, changed in parts.items() if changed)


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
    pixels: np.ndarray  # [P, 3], of the photo, homogeneous
    z: np.ndarray  # [P], depth there as stored
    depth: np.ndarray  # the whole map
    frame: Frame


@dataclass(frozen=True)
class _Score:
    share: float  # of all samples, that agree
    agreeing: float  # of those with depth in both views
    difference: float  # their median relative difference, NaN without any
    count: int


def check_depth(scene: Scene) -> DepthVerdict:
    """Weigh the usual mistakes against the scene's own depth; needs posed frames with depth."""
    pairs = _pairs(len(scene))
    views = {v: _view(scene.frames[v]) for pair in pairs for v in pair}
    pairs = [(i, j) for i, j in pairs if views[i] is not None and views[j] is not None]
    samples = sum(len(views[i].z) for i, _ in pairs)
    if samples < _FEW:
        return DepthVerdict(verdict="undecided", agreement=0.0, difference=np.nan, samples=samples)
    readings = [Reading(*choice) for choice in product(POSES, DEPTHS, UNITS, FOCALS)]
    # The most common mistakes are single ones: those are preferred to combinations that fit as well.
    readings = sorted((r for r in readings if len(r.changes) <= 2), key=lambda r: len(r.changes))
    poses = candidates(scene.extrinsics) | _more_candidates(scene.extrinsics)
    scores = [_score(reading, poses[reading.poses], views, pairs) for reading in readings]
    weight = np.array([s.share * 0.95 ** len(r.changes) for s, r in zip(scores, readings)])
    best, given = int(weight.argmax()), scores[0]
    report: dict[str, Any] = {"agreement": given.agreeing, "difference": given.difference, "samples": samples}
    if scores[best].agreeing < _GOOD or scores[best].count < _FEW:
        return DepthVerdict(verdict="contradiction" if given.count >= _FEW else "undecided", **report)
    # Ray and z differ little in the middle of the image: there a finer look decides.
    finer = given.difference > max(3 * scores[best].difference, _FINE) and scores[best].share > given.share
    consistent = weight[0] >= _CLEAR * weight[best] and given.agreeing >= _GOOD and not finer
    found, near, most = (0, 0.9, 1) if consistent else (best, 0.95, len(readings[best].changes))
    rivals = tuple(
        reading
        for k, reading in enumerate(readings)
        if k != found and weight[k] >= near * weight[found] and len(reading.changes) <= most
    )
    if consistent:
        return DepthVerdict(verdict="consistent", rivals=rivals, **report)
    return DepthVerdict(verdict="contradiction", better=readings[best], rivals=rivals, **report)


def _pairs(count: int) -> list[tuple[int, int]]:
    """Anchors over the whole capture, each with some partners."""
    pairs = set()
    for anchor, step in product(evenly_spaced(count, _ANCHORS), _STEPS):
        other = anchor + step if anchor + step < count else anchor - step
        if other >= 0:
            pairs.add((anchor, other))
    return sorted(pairs)


def _view(frame: Frame) -> _View | None:
    depth = frame.load_depth()
    if depth is None or not (depth > 0).any():
        return None
    (H, W), (h, w) = frame.image_size, depth.shape
    # Centres of depth pixels: a place between them has no depth of its own.
    steps = (np.unique(((np.arange(n) + 0.5) * size / n).astype(int)) for n, size in zip(_SAMPLES, (h, w)))
    rows, columns = (a.ravel() for a in np.meshgrid(*steps, indexing="ij"))
    z = depth[rows, columns].astype(np.float64)
    pixels = np.stack(((columns + 0.5) * W / w, (rows + 0.5) * H / h, np.ones(len(rows))), axis=-1)
    return _View(pixels[z > 0], z[z > 0], depth, frame) if (z > 0).any() else None


def _score(
    reading: Reading,
    E: Float[np.ndarray, "V 4 4"],
    views: dict[int, _View | None],
    pairs: list[tuple[int, int]],
) -> _Score:
    """How well points carried into the other view of each pair meet its depth; those behind it are hidden."""
    resized = np.diag([reading.intrinsics, reading.intrinsics, 1.0])
    found, total, hidden = [], 0, 0
    for i, j in pairs:
        view, other = views[i], views[j]
        total += len(view.z)
        rays = view.pixels @ np.linalg.inv(resized @ view.frame.intrinsics).T
        z = view.z * reading.unit
        if reading.depth == "ray":
            z = z / np.linalg.norm(rays, axis=1)
        relative = E[j] @ np.linalg.inv(E[i])
        local = (rays * z[:, None]) @ relative[:3, :3].T + relative[:3, 3]
        local = local[local[:, 2] > 1e-9]
        pixels = local @ (resized @ other.frame.intrinsics).T
        pixels = pixels[:, :2] / pixels[:, 2:]
        (H, W), (h, w) = other.frame.image_size, other.depth.shape
        inside = ((pixels >= 0) & (pixels < (W, H))).all(axis=1)
        columns, rows = (pixels[inside] * (w / W, h / H)).astype(int).T
        stored = other.depth[np.minimum(rows, h - 1), np.minimum(columns, w - 1)].astype(np.float64)
        reached = np.linalg.norm(local, axis=1) if reading.depth == "ray" else local[:, 2]
        ratio = reached[inside][stored > 0] / (stored[stored > 0] * reading.unit)
        found.append(np.abs(ratio - 1))
        hidden += int((ratio > 1 + TOLERANCE).sum())
    difference = np.concatenate(found)
    agree, compared = int((difference < TOLERANCE).sum()), len(difference) - hidden
    median = float(np.median(difference)) if len(difference) else np.nan
    return _Score(agree / total, agree / compared if compared > 0 else 0.0, median, len(difference))


def _more_candidates(extrinsics: Float[np.ndarray, "V 4 4"]) -> dict[str, Float[np.ndarray, "V 4 4"]]:
    transposed, centres = extrinsics.copy(), extrinsics.copy()
    transposed[:, :3, :3] = extrinsics[:, :3, :3].swapaxes(1, 2)
    centres[:, :3, 3] = -np.einsum("vij,vj->vi", extrinsics[:, :3, :3], extrinsics[:, :3, 3])
    return {"transposed": transposed, "centres": centres}

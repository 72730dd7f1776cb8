"""Do given cameras agree with themselves? Wrong conventions are reported, not rendered.

The usual mistakes are camera-to-world poses read as world-to-camera and OpenGL camera axes (y up, z
back) read as OpenCV ones, or the reverse. Each turns a right pose E into one of four, so the check
asks which of the four the evidence supports:

- sparse points, if there are some: a point lies in front of the cameras that observed it, and inside
  their images;
- else the photos: features matched between neighbours lie where the relative pose can put them.

Poses alone decide little: an outward-looking ring of cameras is an inward-looking one with its axes flipped.
Only when no camera shares any view with any other do they contradict themselves. Where the evidence is thin
(no texture, one photo, pure translation along an image axis) nothing is refused.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.ops import se3
from geometry.scenes.scene import Frame, Scene

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])

# What would have to be done to the poses, by hypothesis. Turning the whole world changes no evidence
# but that of points, which come in the poses' own world, so four cases cover files of either kind.
HYPOTHESES = {
    "given": "as they are",
    "inverted": "inverted, that is with camera-to-world and world-to-camera exchanged",
    "flipped": "with the cameras' y and z axes negated, that is with OpenGL and OpenCV axes exchanged",
    "inverted and flipped": "inverted (camera-to-world and world-to-camera exchanged) and with the cameras' "
    "y and z axes negated (OpenGL and OpenCV axes exchanged)",
}

_FAR_OUT = 1000.0  # times the median distance from the median centre: another unit, not a far photo
_ENOUGH_MATCHES = 60  # in all pairs together, before photos may contradict cameras
_MATCH_SIDE = 512  # longest side for feature matching, pixels
_MATCH_TOLERANCE = 0.006  # angle, radians: 3 pixels at a focal length of 512


Verdict = Literal["consistent", "contradiction", "undecided"]
Match = tuple[int, int, np.ndarray, np.ndarray]  # view indices, unit rays [n, 3] in each camera's axes


@dataclass(frozen=True, kw_only=True)
class CameraVerdict:
    """What the evidence says about a scene's cameras."""

    verdict: Verdict
    evidence: str  # "points", "photos", "frusta" or "none"
    support: dict[str, float]  # per hypothesis: part of the evidence that agrees, 0..1
    better: tuple[str, ...] = ()  # hypotheses that would be consistent, if any and "given" is not


def require_consistent_cameras(scene: Scene) -> CameraVerdict:
    """Refuse cameras that contradict themselves.

    Raises:
        InputError: one line with the source of the cameras, the evidence, and what would be consistent.
    """
    check_scale(scene)
    result = check_cameras(scene)
    if result.verdict != "contradiction":
        return result
    share = f"{result.support['given']:.0%}"
    found = {
        "points": f"only {share} of the sparse points lie in front of the cameras that observed them",
        "photos": f"only {share} of the features matched between neighbouring photos agree with the poses",
        "frusta": "no camera sees anything that another one sees",
    }[result.evidence]
    message = f"{scene.source}: expected cameras that agree with each other, but {found}"
    if result.better:
        share = result.support[result.better[0]]
        ways = ", or ".join(HYPOTHESES[name] for name in result.better)
        raise InputError(f"{message}; they would agree ({share:.0%}) {ways}")
    if result.evidence == "photos":  # bad intrinsics or repeated texture can do this too
        warnings.warn(f"{message}; poses or focal lengths may belong to other photos", stacklevel=2)
        return result
    raise InputError(f"{message}, and none of the usual exchanges mends it")


def check_cameras(scene: Scene, *, use_photos: bool = True, pairs: int = 5) -> CameraVerdict:
    """Weigh the four conventions against the scene's points, else its photos, else its frusta.

    Args:
        use_photos: decode up to ``2 * pairs`` photos and match features where there are no points.
    """
    undecided = CameraVerdict(verdict="undecided", evidence="none", support={})
    if len(scene) < 2 or not scene.posed:
        return undecided

    def supports(support: Callable[..., float], evidence: Scene | list[Match]) -> dict[str, float]:
        return {name: support(evidence, poses) for name, poses in candidates(scene.extrinsics).items()}

    if scene.points is not None and len(scene.points) >= 10:
        result = _decide("points", supports(_point_support, scene), low=0.4, high=0.9)
        # Without visibility the points show only that a camera sees nothing: enough to refuse, not to accept.
        if result.verdict == "contradiction" or scene.visibility is not None:
            return result
    if len(scene) >= 3:
        shares = supports(_frustum_support, scene)
        if shares["given"] == 0.0 and max(shares.values()) >= 0.8:
            return _decide("frusta", shares, low=0.01, high=0.8)
    if use_photos:
        matches = _match_neighbours(scene, pairs)
        if sum(len(m[2]) for m in matches) >= _ENOUGH_MATCHES and len(matches) >= min(3, len(scene) - 1):
            return _decide("photos", supports(_match_support, matches), low=0.3, high=0.75)
    return undecided


def candidates(extrinsics: Float[np.ndarray, "V 4 4"]) -> dict[str, Float[np.ndarray, "V 4 4"]]:
    """World-to-camera poses under each hypothesis of `HYPOTHESES`."""
    inverse = se3.invert(torch.from_numpy(np.ascontiguousarray(extrinsics))).numpy()
    return {
        "given": extrinsics,
        "inverted": inverse,
        "flipped": _FLIP @ extrinsics,
        "inverted and flipped": _FLIP @ inverse,
    }


def check_scale(scene: Scene) -> None:
    """Refuse a camera whose position must be in another unit than the others'.

    Raises:
        InputError: a camera is a thousand times farther out than the median one; it is named.
    """
    if not scene.posed or len(scene) < 4:
        return
    centres = se3.centres(torch.from_numpy(scene.extrinsics)).numpy()
    distance = np.linalg.norm(centres - np.median(centres, axis=0), axis=1)
    median = float(np.median(distance))
    worst = int(distance.argmax())
    if median > 0 and distance[worst] > _FAR_OUT * median:
        raise InputError(
            f"{scene.source}: expected cameras in one unit, got {scene.frames[worst].name} "
            f"{distance[worst] / median:.0f} times farther out than the median camera"
        )


def _decide(evidence: str, support: dict[str, float], *, low: float, high: float) -> CameraVerdict:
    """Refuse ``given`` below ``low``, or below 0.8 ``high`` if another is above ``high``; name the others."""
    best, given = max(support.values()), support["given"]
    better: tuple[str, ...] = ()
    if best >= high and given < 0.8 * high:
        better = tuple(name for name, share in support.items() if share >= max(high, best - 0.1))
    verdict: Verdict = "consistent" if given >= high else "undecided"
    if given < low or better:
        verdict = "contradiction"
    return CameraVerdict(verdict=verdict, evidence=evidence, support=support, better=better)


def _point_support(scene: Scene, extrinsics: np.ndarray) -> float:
    """Part of the observations that lie in front and inside, median over the frames.

    Without visibility every frame should see at least some of the points: the part of frames that do.
    """
    if scene.visibility is None:
        shares = [_inside(scene.points, frame, pose).mean() for frame, pose in zip(scene.frames, extrinsics)]
        return float(np.mean(np.array(shares) > 0.01))
    shares = [
        _inside(scene.points[rows], frame, pose).mean()
        for rows, frame, pose in zip(scene.visibility, scene.frames, extrinsics)
        if len(rows)
    ]
    return float(np.median(shares)) if shares else 1.0  # no observations are no evidence against the cameras


def _inside(world: np.ndarray, frame: Frame, pose: np.ndarray) -> np.ndarray:
    """Which points lie in front and in the image, a tenth wider: distortion that is undone moves them."""
    local = world @ pose[:3, :3].T + pose[:3, 3]
    size = np.array(frame.image_size[::-1])
    K = frame.intrinsics
    pixels = K.diagonal()[:2] * local[:, :2] / np.maximum(local[:, 2:], 1e-12) + K[:2, 2]
    near = (pixels > -0.1 * size) & (pixels < 1.1 * size)
    return (local[:, 2] > 0) & near.all(axis=1)


def _frustum_support(scene: Scene, extrinsics: np.ndarray) -> float:
    """Part of the cameras that can share a view with another one, at any depth up to infinity."""
    chosen = np.unique(np.linspace(0, len(extrinsics) - 1, 60).round().astype(int))
    to_world = se3.invert(torch.from_numpy(extrinsics[chosen])).numpy()
    centres = to_world[:, :3, 3]
    spread = np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
    depths = np.geomspace(0.01, 1e4, 25) * (spread if spread > 0 else 1.0)
    corner = np.linspace(0.02, 0.98, 7)
    grid = np.stack(np.meshgrid(corner, corner), axis=-1).reshape(-1, 2)

    def sees_what_another_sees(a: int, i: np.integer) -> bool:
        local = depths[:, None, None] * _rays(scene.frames[i], grid * scene.frames[i].image_size[::-1])
        world = local.reshape(-1, 3) @ to_world[a, :3, :3].T + centres[a]
        return any(_inside(world, scene.frames[j], extrinsics[j]).any() for j in chosen if j != i)

    return float(np.mean([sees_what_another_sees(a, i) for a, i in enumerate(chosen)]))


def _rays(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Directions through pixels [n, 2] in camera axes, with z = 1."""
    K = frame.intrinsics
    return np.c_[(pixels - K[:2, 2]) / K.diagonal()[:2], np.ones(len(pixels))]


def _match_neighbours(scene: Scene, pairs: int) -> list[Match]:
    """Rays of features matched between neighbours, that agree on some two-view geometry of their own."""
    starts = np.unique(np.linspace(0, len(scene) - 2, pairs).round().astype(int))
    views = np.unique(np.concatenate((starts, starts + 1))).tolist()
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        found = dict(zip(views, threads.map(lambda view: _features(scene, view), views)))
    matches: list[Match] = []
    for i in starts.tolist():
        (pixels_a, rays_a, descriptors_a), (pixels_b, rays_b, descriptors_b) = found[i], found[i + 1]
        if min(len(pixels_a), len(pixels_b)) < 8:
            continue
        nearest = cv2.BFMatcher().knnMatch(descriptors_a, descriptors_b, k=2)
        good = [m for m, other in nearest if m.distance < 0.75 * other.distance]
        if len(good) < 16:
            continue
        a, b = np.array([m.queryIdx for m in good]), np.array([m.trainIdx for m in good])
        cv2.setRNGSeed(0)
        _, inliers = cv2.findFundamentalMat(pixels_a[a], pixels_b[b], cv2.FM_RANSAC, 2.0, 0.999, 2000)
        keep = np.zeros(len(good), bool) if inliers is None else inliers.ravel().astype(bool)
        if keep.sum() >= 16:
            matches.append((i, i + 1, rays_a[a][keep], rays_b[b][keep]))
    return matches


def _features(scene: Scene, view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """SIFT features of a photo: pixels of its reduced copy, unit rays, descriptors."""
    frame = scene.frames[view]
    grey = cv2.cvtColor(frame.load(), cv2.COLOR_RGB2GRAY)
    (H, W), scale = grey.shape, min(1.0, _MATCH_SIDE / max(grey.shape))
    small = cv2.resize(grey, (round(W * scale), round(H * scale)), interpolation=cv2.INTER_AREA)
    keep = frame.load_mask()
    keep = keep if keep is None else cv2.resize(keep.astype(np.uint8), small.shape[::-1])
    keypoints, descriptors = cv2.SIFT_create(1000).detectAndCompute(small, keep)  # type: ignore[attr-defined]
    pixels = np.array([k.pt for k in keypoints], dtype=np.float64).reshape(-1, 2)
    # OpenCV's first pixel centre is at 0, ours at 0.5.
    rays = _rays(frame, (pixels + 0.5) * (W / small.shape[1], H / small.shape[0]))
    return pixels, rays / np.linalg.norm(rays, axis=1, keepdims=True), descriptors


def _match_support(matches: list[Match], extrinsics: np.ndarray) -> float:
    """Part of the matches that the relative poses can explain, mean over the pairs."""
    shares = []
    for i, j, rays_i, rays_j in matches:
        relative = se3.relative(torch.from_numpy(extrinsics[j : j + 1]), torch.from_numpy(extrinsics[i]))
        shares.append((_angle_to_locus(rays_i, rays_j, relative[0].numpy()) < _MATCH_TOLERANCE).mean())
    return float(np.mean(shares))


def _angle_to_locus(
    first: Float[np.ndarray, "n 3"], second: Float[np.ndarray, "n 3"], relative: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, " n"]:
    """Angle from each second ray to the places where the first ray's points can appear, radians.

    A point on the first ray, at depth infinity to 0, is seen by the second camera on the great-circle
    arc from the turned first ray to the direction of the first camera's centre. Using the arc, not the
    whole circle, makes points behind a camera count as wrong; with no translation the arc is one point.
    """
    start = first @ relative[:3, :3].T
    shift = np.linalg.norm(relative[:3, 3])
    if shift < 1e-12:
        return _angle(start, second)
    end = np.broadcast_to(relative[:3, 3] / shift, start.shape)
    normal = np.cross(start, end)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.maximum(length, 1e-12)
    # Before the arc's start a point would be beyond infinity, after its end behind the second camera.
    after_start = (np.cross(start, second) * normal).sum(1) >= 0
    before_end = (np.cross(second, end) * normal).sum(1) >= 0
    across = np.abs(np.arcsin(np.clip((second * normal).sum(1), -1, 1)))
    to_ends = np.minimum(_angle(start, second), _angle(end, second))
    return np.where(after_start & before_end & (length[:, 0] > 1e-9), across, to_ends)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1))

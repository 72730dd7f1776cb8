"""Features of neighbouring photos, triangulated, and between which depths planes are worth trying."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.ops import se3
from geometry.scenes.view_selection import pose_distances
from geometry.views import Cameras, Views

FEATURES_FROM = 1.6  # near limits: .8 of the nearest features' depth, where guesses begin


def depth_limits(views: Views, *, most: int = 800) -> list[tuple[float, float]]:
    """(near, far) of every view, from SIFT features triangulated between neighbours with the given poses.

    z-depths in scene units: half the depth of the nearest features, 1.5 times that of the farthest.
    A view with fewer than 20 such points takes the limits of all points together; if the whole scene has
    fewer, near and far are 0.3 and 30 times the largest distance between cameras, a guess.
    """
    per_view = [points[:, 2] for points in triangulated(views, most=most)]
    everything = np.concatenate(per_view)
    if len(everything) >= 20:
        common = _limits(everything)
    else:
        centres = se3.centres(views.cameras.extrinsics[0])
        baseline = float(torch.cdist(centres, centres).max()) or 1.0
        common = (0.3 * baseline, 30 * baseline)
    return [_limits(z) if len(z) >= 20 else common for z in per_view]


def triangulated(
    views: Views, *, most: int = 800, neighbours: int = 4, reach_px: float = 2.0, parallax_deg: float = 1.0
) -> list[Float[np.ndarray, "N 3"]]:
    """Features of every view with their z-depth, (x, y, z), x and y in pixels, from pairs of posed views.

    Args:
        most: features of a view.
        neighbours: views that each is matched with.
        reach_px: how far from its features a point may project.
        parallax_deg: angle between its rays, under which depth is noise.
    """
    cameras = views.cameras
    extrinsics = cameras.extrinsics[0].double().cpu().numpy()
    intrinsics = cameras.intrinsics[0].double().cpu().numpy()
    masks = [None] * len(views.images[0]) if views.mask is None else views.mask[0]
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        found = list(pool.map(lambda image, keep: _features(image, most, keep), views.images[0], masks))
    points: list[list[np.ndarray]] = [[np.empty((0, 3))] for _ in found]
    done = set()
    for a, others in enumerate(_neighbours(cameras, neighbours)):
        for b in others:
            if (b, a) not in done:
                done.add((a, b))
                pair = extrinsics[[a, b]], intrinsics[[a, b]]
                in_a, in_b = _triangulated(found[a], found[b], *pair, reach_px, parallax_deg)
                points[a].append(in_a)
                points[b].append(in_b)
    return [np.concatenate(parts) for parts in points]


def _limits(depths: np.ndarray) -> tuple[float, float]:
    near, far = np.percentile(depths, (2, 98))
    # Floors and grass before the camera have few features, and lie nearer than those of everything else.
    return float(0.8 * near / FEATURES_FROM), float(1.5 * far)


def _features(
    image: Float[Tensor, "3 H W"], most: int, keep: Bool[Tensor, "H W"] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """SIFT places in our pixels (first centre at 0.5) where the mask is True, and descriptors."""
    pixels = (image.movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
    keypoints, descriptors = cv2.SIFT_create(most).detectAndCompute(  # type: ignore[attr-defined]
        cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), None if keep is None else keep.byte().cpu().numpy()
    )
    return np.array([k.pt for k in keypoints], dtype=np.float64).reshape(-1, 2) + 0.5, descriptors


def _triangulated(
    first: tuple, second: tuple, extrinsics: np.ndarray, intrinsics: np.ndarray, reach: float, parallax: float
) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, z) in both views of features that match and whose rays meet."""
    (pixels_a, descriptors_a), (pixels_b, descriptors_b) = first, second
    nothing = np.empty((0, 3)), np.empty((0, 3))
    if min(len(pixels_a), len(pixels_b)) < 2:
        return nothing
    pairs = cv2.BFMatcher().knnMatch(descriptors_a, descriptors_b, k=2)
    good = [m for m, other in (p for p in pairs if len(p) == 2) if m.distance < 0.75 * other.distance]
    if not good:
        return nothing
    a = pixels_a[[m.queryIdx for m in good]]
    b = pixels_b[[m.trainIdx for m in good]]
    P = intrinsics @ extrinsics[:, :3]
    points = cv2.triangulatePoints(P[0], P[1], a.T, b.T)
    points = points / np.where(np.abs(points[3]) < 1e-12, 1e-12, points[3])
    (za, ea), (zb, eb) = _error(P[0], points, a), _error(P[1], points, b)
    centres = -np.einsum("vij,vi->vj", extrinsics[:, :3, :3], extrinsics[:, :3, 3])
    to = points[:3].T[:, None] - centres
    cosine = (to[:, 0] * to[:, 1]).sum(-1) / np.linalg.norm(to, axis=-1).prod(-1).clip(1e-12)
    keep = (za > 0) & (zb > 0) & (ea < reach) & (eb < reach) & (cosine < np.cos(np.deg2rad(parallax)))
    return np.column_stack((a, za))[keep], np.column_stack((b, zb))[keep]


def _error(P: np.ndarray, points: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z-depth, and distance in pixels from the feature."""
    x = P @ points
    z = np.where(np.abs(x[2]) < 1e-12, 1e-12, x[2])
    return x[2], np.linalg.norm((x[:2] / z).T - pixels, axis=1)


def _neighbours(cameras: Cameras, count: int) -> list[list[int]]:
    """For each view the nearest others; those closer than a tenth of the median are used last.

    A view at almost the same place shows no parallax.
    """
    poses = cameras.extrinsics[0].double().cpu().numpy()
    distances = pose_distances(poses)
    np.fill_diagonal(distances, np.inf)
    too_close = 0.1 * np.median(distances[np.isfinite(distances)])
    order = np.argsort(np.where(distances < too_close, distances + 1e3, distances), axis=1, kind="stable")
    return [row[: min(count, len(poses) - 1)].tolist() for row in order]

"""Depth of posed photos from a plane sweep: the classical reference, no network.

For every view, fronto-parallel planes at even steps of inverse depth are tried; a plane's score at a pixel is
the normalised cross-correlation (NCC) of small windows in this view and in its neighbours warped over that
plane, mean of the best half of the neighbours, so that one occluded neighbour does no harm. The best plane
wins, refined by a parabola; a depth is trusted where its score is high and another view agrees.

Source: Collins 1996 (space sweep); Goesele et al. 2006 (NCC over the best views).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import pixel_grid, project, unproject
from geometry.scenes.view_selection import pose_distances
from geometry.views import Cameras, Views

_GREY = (0.299, 0.587, 0.114)
_CHUNK = 16  # planes at a time: bounds memory


@dataclass(frozen=True, kw_only=True)
class SweptDepth:
    """Depth of every view and how far to trust it."""

    depth: Float[Tensor, "1 V H W"]
    score: Float[Tensor, "1 V H W"]  # NCC of the best plane, -1..1
    trusted: Bool[Tensor, "1 V H W"]  # a high score, and another view sees the same depth
    limits: tuple[float, float]  # nearest and farthest plane of all views


def plane_sweep(
    views: Views, *, planes: int = 96, neighbours: int = 4, window: int = 7, min_score: float = 0.5
) -> SweptDepth:
    """z-depth of posed views by a plane sweep at their own resolution.

    Args:
        planes: depths tried, even in inverse depth between the limits of `depth_limits`.
        neighbours: views compared with, nearest by pose but not at the same place.
        window: side of the NCC window, pixels, odd.

    Raises:
        InputError: fewer than two views, or views without cameras.
    """
    if views.cameras is None or views.images.shape[1] < 2:
        raise InputError("plane sweep: expected two or more posed views")
    if planes < 3 or window % 2 == 0 or neighbours < 1:
        raise InputError(
            f"plane sweep: expected planes >= 3, an odd window and neighbours >= 1, got {planes}, {window}, "
            f"{neighbours}"
        )
    images, cameras = views.images, views.cameras
    grey = (images * images.new_tensor(_GREY)[:, None, None]).sum(dim=2)  # [1, V, H, W]
    near_far = depth_limits(views)
    nearby = _neighbours(cameras, neighbours)
    depth, score = torch.empty_like(grey), torch.empty_like(grey)
    for view, others in enumerate(nearby):
        inverse = torch.linspace(1 / near_far[view][1], 1 / near_far[view][0], planes, device=grey.device)
        depth[0, view], score[0, view] = _sweep(grey[0], cameras, view, others, inverse, window)
    agreed = _agreed(depth, cameras, nearby)
    return SweptDepth(
        depth=depth,
        score=score,
        trusted=agreed & (score > min_score),
        limits=(min(n for n, _ in near_far), max(f for _, f in near_far)),
    )


def _sweep(
    grey: Float[Tensor, "V H W"],
    cameras: Cameras,
    view: int,
    others: list[int],
    inverse: Float[Tensor, " P"],
    window: int,
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Depth and score of one view."""
    reference = grey[view][None, None]
    mean, spread = _moments(reference, window)
    keep = max(1, (len(others) + 1) // 2)
    scores = []
    for part in inverse.split(_CHUNK):
        warped = torch.stack([_warp(grey[o], cameras, view, o, 1 / part) for o in others], dim=1)  # P O H W
        flat = warped.flatten(0, 1)[:, None]
        other_mean, other_spread = _moments(flat, window)
        cross = _box(flat * reference, window) - other_mean * mean
        ncc = cross / (other_spread * spread).clamp(min=1e-6)
        ncc = torch.where(flat == _OUTSIDE, -1.0, ncc).clamp(-1, 1)[:, 0].unflatten(0, warped.shape[:2])
        scores.append(ncc.topk(keep, dim=1).values.mean(dim=1))
    volume = torch.cat(scores)  # [P, H, W]
    best = volume.argmax(dim=0)
    inner = best.clamp(1, len(inverse) - 2)
    below, at, above = (volume.gather(0, (inner + s)[None])[0] for s in (-1, 0, 1))
    # The top of the parabola through three planes; planes are even in inverse depth.
    bend = (below - 2 * at + above).clamp(max=-1e-6)
    shift = (0.5 * (below - above) / bend).clamp(-0.5, 0.5)
    shift = torch.where(best == inner, shift, torch.zeros_like(shift))
    step = inverse[1] - inverse[0]
    return 1 / (inverse[best] + shift * step), volume.max(dim=0).values


_OUTSIDE = -1.0  # grey level where a warped view shows nothing


def _warp(
    grey: Float[Tensor, "H W"], cameras: Cameras, view: int, other: int, depths: Float[Tensor, " P"]
) -> Float[Tensor, "P H W"]:
    """The other view as seen from this one if everything lay on a plane of constant z-depth."""
    H, W = grey.shape
    K, K_other = cameras.intrinsics[0, view], cameras.intrinsics[0, other]
    relative = cameras.extrinsics[0, other] @ se3.invert(cameras.extrinsics[0, view])
    pixels = pixel_grid((H, W), device=grey.device)
    rays = torch.cat((pixels, torch.ones_like(pixels[..., :1])), dim=-1) @ K.inverse().T  # z = 1
    turned = rays @ relative[:3, :3].T
    # K' (d R r + t) per plane: an affine function of d, so nothing but a sum is done for each plane.
    at_infinity, at_zero = turned @ K_other.T, K_other @ relative[:3, 3]
    points = depths[:, None, None, None] * at_infinity + at_zero
    z = points[..., 2:]
    place = points[..., :2] / z.clamp(min=1e-9)
    place = place / place.new_tensor([W, H]) * 2 - 1  # -1..1 at the outer edges of the border pixels
    inside = (place.abs() <= 1).all(dim=-1) & (z[..., 0] > 0)
    sampled = F.grid_sample(
        grey.expand(len(depths), 1, H, W), place.clamp(-2, 2), padding_mode="border", align_corners=False
    )
    return torch.where(inside, sampled[:, 0], torch.full_like(sampled[:, 0], _OUTSIDE))


def _box(values: Float[Tensor, "N 1 H W"], window: int) -> Float[Tensor, "N 1 H W"]:
    return F.avg_pool2d(values, window, stride=1, padding=window // 2, count_include_pad=False)


def _moments(values: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation in every window."""
    mean = _box(values, window)
    return mean, (_box(values * values, window) - mean * mean).clamp(min=1e-6).sqrt()


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


def _agreed(
    depth: Float[Tensor, "1 V H W"], cameras: Cameras, nearby: list[list[int]], tolerance: float = 0.02
) -> Bool[Tensor, "1 V H W"]:
    """Whether at least one neighbour's own depth is the same, within a part of it."""
    H, W = depth.shape[-2:]
    points = unproject(depth, cameras)
    agreed = torch.zeros_like(depth, dtype=torch.bool)
    for view, others in enumerate(nearby):
        for other in others:
            pixels, z = project(points[:, view : view + 1], cameras[:, other : other + 1])
            place = pixels[:, 0] / pixels.new_tensor([W, H]) * 2 - 1
            there = F.grid_sample(depth[:, other : other + 1], place, mode="nearest", align_corners=False)
            same = (there[:, 0] / z[:, 0].clamp(min=1e-9) - 1).abs() < tolerance
            agreed[:, view] |= same & (z[:, 0] > 0) & (place.abs() <= 1).all(dim=-1)
    return agreed


def depth_limits(views: Views, *, most: int = 800) -> list[tuple[float, float]]:
    """(near, far) of every view, from SIFT features triangulated between neighbours with the given poses.

    A view with fewer than 20 such points takes the limits of all points together; if the whole scene has
    fewer, near and far are 0.3 and 30 times the largest distance between cameras, a guess.
    """
    cameras = views.cameras
    extrinsics = cameras.extrinsics[0].double().cpu().numpy()
    intrinsics = cameras.intrinsics[0].double().cpu().numpy()
    found = [_features(image, most) for image in views.images[0]]
    depths: list[list[np.ndarray]] = [[] for _ in found]
    done = set()
    for a, others in enumerate(_neighbours(cameras, 4)):
        for b in others:
            if (b, a) not in done:
                done.add((a, b))
                z_a, z_b = _triangulated(found[a], found[b], extrinsics[[a, b]], intrinsics[[a, b]])
                depths[a].append(z_a)
                depths[b].append(z_b)
    per_view = [np.concatenate(parts) if parts else np.empty(0) for parts in depths]
    everything = np.concatenate(per_view)
    if len(everything) >= 20:
        common = _limits(everything)
    else:
        centres = se3.centres(cameras.extrinsics[0])
        baseline = float(torch.cdist(centres, centres).max()) or 1.0
        common = (0.3 * baseline, 30 * baseline)
    return [_limits(z) if len(z) >= 20 else common for z in per_view]


def _limits(depths: np.ndarray) -> tuple[float, float]:
    near, far = np.percentile(depths, (2, 98))
    return float(0.8 * near), float(1.5 * far)


def _features(image: Float[Tensor, "3 H W"], most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """SIFT places in our pixels (first centre at 0.5), and descriptors."""
    pixels = (image.movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
    keypoints, descriptors = cv2.SIFT_create(most).detectAndCompute(
        cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), None
    )
    return np.array([k.pt for k in keypoints], dtype=np.float64).reshape(-1, 2) + 0.5, descriptors


def _triangulated(
    first: tuple, second: tuple, extrinsics: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """z-depths in both cameras of features that match and whose rays meet within 2 pixels."""
    (pixels_a, descriptors_a), (pixels_b, descriptors_b) = first, second
    nothing = np.empty(0), np.empty(0)
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
    wide = cosine < np.cos(np.deg2rad(1.0))  # under a degree a depth is noise
    keep = (za > 0) & (zb > 0) & (ea < 2) & (eb < 2) & wide
    return za[keep], zb[keep]


def _error(P: np.ndarray, points: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z-depth, and distance in pixels from the feature."""
    x = P @ points
    z = np.where(np.abs(x[2]) < 1e-12, 1e-12, x[2])
    return x[2], np.linalg.norm((x[:2] / z).T - pixels, axis=1)

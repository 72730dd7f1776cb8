"""DTU's own measure of point clouds, in millimetres: its observability masks, and fusion of given views.

Source: Aanaes et al. 2016, as DA3's released evaluation applies it.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from geometry.metrics.surface import Cloud, lifted_points

RADIUS = 0.2  # mm: of thinning, and within which views agree on a point
FARTHEST = 20.0  # mm: distances from here on do not count
AGREEING = 4  # views, the point's own included
MAX_POINTS = 4_000_000
_BELOW, _ABOVE = 60.0, 120.0  # mm around the mask's box in which points count for completeness
_CHUNK = 50_000


@dataclass(frozen=True, kw_only=True)
class DtuTruth:
    """What a scan is compared with."""

    points: Cloud
    observed: Bool[np.ndarray, "X Y Z"]  # cells that the scanner could see
    box: Float[np.ndarray, "2 3"]  # centre of the first cell; the mask's upper end
    cell: float  # side of a cell
    ground: Float[np.ndarray, " 4"]  # plane; points with positive (x, y, z, 1) . ground are above


def dtu_metrics(pred: Cloud, truth: DtuTruth, *, seed: int = 42) -> dict[str, float]:
    """``acc``, ``comp`` and ``overall`` (their mean): distances to nearest neighbours, those below 20 mm.

    Accuracy is that of predicted points in observed cells to the scan, completeness that of the scan's points
    above the ground to predicted points in the box. Infinite where nothing lies that near.
    """
    pred = thinned(pred, RADIUS, seed=seed)
    low, high = truth.box
    pred = pred[((pred >= low - _BELOW) & (pred < high + _ABOVE)).all(axis=1)]
    cells = np.rint((pred - low) / truth.cell).astype(int)
    inside = ((cells >= 0) & (cells < truth.observed.shape)).all(axis=1)
    inside[inside] = truth.observed[tuple(cells[inside].T)]
    above = truth.points[truth.points @ truth.ground[:3] + truth.ground[3] > 0]
    acc, comp = _mean_near(pred[inside], truth.points), _mean_near(above, pred)
    return {"acc": acc, "comp": comp, "overall": (acc + comp) / 2}


def _mean_near(source: Cloud, target: Cloud) -> float:
    if len(source) == 0 or len(target) == 0:
        return float("inf")
    distance, _ = cKDTree(target).query(source, workers=-1)
    near = distance[distance < FARTHEST]
    return float(near.mean()) if len(near) else float("inf")


def thinned(points: Cloud, radius: float, *, seed: int = 42) -> Cloud:
    """Points in random order, each taken unless one within ``radius`` was taken before."""
    points = points[np.random.default_rng(seed).permutation(len(points))]
    tree, alive = cKDTree(points), np.ones(len(points), bool)
    for start in range(0, len(points), _CHUNK):
        left = start + np.flatnonzero(alive[start : start + _CHUNK])
        neighbours = tree.query_ball_point(points[left], radius, workers=-1)
        for i, near in zip(left, neighbours):
            if alive[i]:
                alive[near] = False
                alive[i] = True
    return points[alive]


def consistent_points(
    depth: Float[np.ndarray, "V H W"],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    *,
    tolerance: float = RADIUS,
    views: int = AGREEING,
    seed: int = 42,
) -> Cloud:
    """Means of the points on which at least ``views`` views agree within ``tolerance``.

    A pixel's point is projected into every view; the point that this view has there, between its pixels by
    bilinear interpolation, agrees if it lies within the tolerance. At most `MAX_POINTS` are drawn.

    Args:
        depth, extrinsics, intrinsics: as of `geometry.metrics.surface.lifted_points`.
    """
    V, H, W = depth.shape
    maps = []  # every view's points as an image [1, 3, H, W]; far away where its depth is unknown
    for z, E, K in zip(depth, extrinsics, intrinsics):
        known = np.isfinite(z) & (z > 0)
        world = lifted_points(np.where(known, z, 1.0)[None], E[None], K[None]).reshape(H, W, 3)
        maps.append(torch.from_numpy(np.where(known[..., None], world, 1e9)).permute(2, 0, 1)[None])
    clouds = []
    for index in range(V):
        own = maps[index][0].permute(1, 2, 0).reshape(-1, 3).numpy()
        own = own[np.isfinite(depth[index]).ravel() & (depth[index].ravel() > 0)]
        total, count = np.zeros_like(own), np.zeros(len(own))
        for E, K, other in zip(extrinsics, intrinsics, maps):
            seen = K @ (E[:3, :3] @ own.T + E[:3, 3:])
            with np.errstate(divide="ignore", invalid="ignore"):
                pixel = seen[:2] / seen[2] - 0.5  # of pixel centres
            grid = 2 * pixel.T / np.array([W - 1, H - 1]) - 1
            grid = np.where(np.isfinite(grid) & (seen[2] > 0)[:, None], grid, 9.0)
            found = F.grid_sample(other, torch.from_numpy(grid)[None, None], align_corners=True)
            found = found[0, :, 0].T.numpy()
            agrees = np.linalg.norm(found - own, axis=1) < tolerance
            total += np.where(agrees[:, None], found, 0)
            count += agrees
        enough = count >= views
        clouds.append(total[enough] / count[enough, None])
    points = np.concatenate(clouds)
    if len(points) > MAX_POINTS:
        points = points[np.random.default_rng(seed).choice(len(points), MAX_POINTS, replace=False)]
    return points

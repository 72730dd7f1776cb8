"""Views that belong together: drawn so that each sees some of what another one of them sees.

How much two views share is measured by the best evidence that a scene has: its depth, reprojected; else
its sparse points, seen by both; else the space in front of the cameras. Rows of the overlap are computed
as they are needed, so that a scene of a thousand photos costs no more than the views drawn.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, wraps
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import project, resize_intrinsics, unproject
from geometry.sampling.far_depth import is_far
from geometry.scenes.scene import Scene
from geometry.views import Cameras

_GRID = (12, 16)  # rows and columns of the pixels with depth that stand for a view
_SPACE_GRID = (6, 8)  # likewise where there is no depth, at each of three distances
_DEPTH_TOLERANCE = 0.05  # relative: two depths are of one surface
_ATTEMPTS = 4
_FEWEST_PIXELS = 16  # of the grid with depth, for depth to be evidence


def _kept(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose answer for each view is remembered by the object, and goes with it."""

    @wraps(method)
    def remembering(self: "Overlap", i: int) -> Any:
        answers = self.kept.setdefault(method.__name__, {})
        if i not in answers:
            answers[i] = method(self, i)
        return answers[i]

    return remembering


class Overlap:
    """Share of what one view sees that each other view sees, 0..1; every frame must have a camera.

    The share of i in j differs from that of j in i: a detail is wholly inside an overview.
    """

    def __init__(self, scene: Scene) -> None:
        if not scene.posed:
            raise InputError(f"{scene.name}: expected a camera for every frame, found some without")
        self.scene = scene
        extrinsics, intrinsics = (torch.from_numpy(K)[None] for K in (scene.extrinsics, scene.intrinsics))
        self._cameras = Cameras(extrinsics=extrinsics.double(), intrinsics=intrinsics.double())
        self._centres = se3.centres(self._cameras.extrinsics[0]).numpy()
        self._sizes = np.array([frame.image_size for frame in scene.frames])
        self.kept: dict[str, dict[int, np.ndarray | None]] = {}

    @_kept
    def row(self, i: int) -> Float[np.ndarray, " V"]:
        """Share of view i in each view, 1 in itself; ignoring occlusion."""
        points = self._points_from_depth(i)
        if points is not None:
            share = self._visible(points)[0].mean(axis=1)
        elif self.scene.visibility is not None and len(self.scene.visibility[i]):
            share = self._shared_points(i)
        else:
            share = self._shared_space(i)
        share[i] = 1.0
        return share

    def seen(self, i: int, j: int) -> float:
        """Share of view i in view j, with occlusion where both have depth; else as in `row`."""
        points, depth = self._points_from_depth(i), self._depth_of(j)
        if points is None or depth is None:
            return float(self.row(i)[j])
        inside, pixels, z = (array[0] for array in self._visible(points, [j]))
        h, w = depth.shape
        H, W = self.scene.frames[j].image_size
        columns = np.clip(pixels[:, 0] * (w / W), 0, w - 1).astype(int)
        rows = np.clip(pixels[:, 1] * (h / H), 0, h - 1).astype(int)
        there = depth[rows, columns]
        agree = np.abs(there - z) < _DEPTH_TOLERANCE * z
        # Where j has no depth it is no evidence: such pixels do not count.
        counted = ~inside | (there > 0)
        return float((inside & agree)[counted].mean()) if counted.any() else float(inside.mean())

    def _visible(
        self, points: np.ndarray, views: list[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether each world point lies in each view's image, its pixel there, and its z: [V, P, ...]."""
        cameras, sizes = self._cameras, self._sizes
        if views is not None:
            cameras, sizes = cameras[:, views], sizes[views]
        places = torch.from_numpy(points).expand(1, len(sizes), -1, 3)
        pixels, z = (found[0].numpy() for found in project(places, cameras))
        inside = (z > 1e-9) & (pixels >= 0).all(-1) & (pixels < sizes[:, None, ::-1]).all(-1)
        return inside, pixels, z

    @_kept
    def _depth_of(self, i: int) -> np.ndarray | None:
        depth = self.scene.frames[i].load_depth()
        if depth is not None:
            depth = np.where(is_far(depth), 0, depth)
        return depth if depth is not None and (depth > 0).any() else None

    @_kept
    def _points_from_depth(self, i: int) -> np.ndarray | None:
        """World points of a grid of view i's pixels with depth; None if there are too few."""
        depth = self._depth_of(i)
        if depth is None:
            return None
        rows, columns = (((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(_GRID, depth.shape))
        z = depth[np.ix_(rows, columns)]
        return self._unproject(i, z)[z > 0] if (z > 0).sum() >= _FEWEST_PIXELS else None

    def _unproject(self, i: int, z: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
        """World points of depths at the centres of the cells that tile view i's image."""
        camera = self._cameras[:, [i]]
        intrinsics = resize_intrinsics(camera.intrinsics, self.scene.frames[i].image_size, z.shape)
        depth = torch.from_numpy(z)[None, None].to(intrinsics)
        return unproject(depth, replace(camera, intrinsics=intrinsics))[0, 0].numpy()

    def _shared_points(self, i: int) -> np.ndarray:
        mine = self._point_sets[i]
        return np.array([len(mine & other) / len(mine) for other in self._point_sets])

    @cached_property
    def _point_sets(self) -> list[frozenset[int]]:
        return [frozenset(rows.tolist()) for rows in self.scene.visibility]

    def _shared_space(self, i: int) -> np.ndarray:
        """Share of the space in front of view i that the others see from the same side.

        How far away things are is unknown; distances between a tenth and the whole of the cameras' own
        extent (twice the 90th percentile of distances from their middle, 1 if that is 0) all count alike.
        """
        away = np.linalg.norm(self._centres - np.median(self._centres, axis=0), axis=1)
        distances = (2 * np.quantile(away, 0.9) or 1.0) * np.array([0.1, 0.3, 1.0])
        points = np.concatenate([self._unproject(i, np.full(_SPACE_GRID, d)) for d in distances])
        points = points.reshape(-1, 3)
        inside = self._visible(points)[0]
        from_here = points - self._centres[i]
        from_there = points[None] - self._centres[:, None]
        same_side = np.einsum("pi,vpi->vp", from_here, from_there) > 0
        return (inside & same_side).mean(axis=1)


def sample_views(
    scene: Scene,
    count: int,
    rng: np.random.Generator,
    *,
    least: float = 0.2,
) -> list[int]:
    """``count`` different views, each sharing at least ``least`` with one drawn before it.

    A random first view; then again and again a random one among those that overlap some chosen view
    enough in both directions. A walk that cannot go on starts again elsewhere with half the threshold;
    after `_ATTEMPTS` walks the longest is filled up with the views that overlap it most.

    Args:
        least: share of each view in the other, 0..1.

    Raises:
        InputError: the scene has fewer views, or frames without cameras.
    """
    if not 1 <= count <= len(scene):
        raise InputError(f"{scene.name}: expected {count} views, got a scene of {len(scene)}")
    overlap = Overlap(scene)
    walks = []
    for attempt in range(_ATTEMPTS):
        walks.append(_walk(overlap, count, rng, least * 0.5**attempt))
        if len(walks[-1][0]) == count:
            return walks[-1][0]
    chosen, reach = max(walks, key=lambda walk: len(walk[0]))
    order = np.argsort(-reach, kind="stable").tolist()
    return chosen + [j for j in order if j not in chosen][: count - len(chosen)]


def _walk(
    overlap: Overlap, count: int, rng: np.random.Generator, least: float
) -> tuple[list[int], np.ndarray]:
    """Views reached, and how much of each view some chosen one shares."""
    chosen = [int(rng.integers(len(overlap.scene)))]
    reach = overlap.row(chosen[0])
    parent = np.full(len(reach), chosen[0])
    refused: set[tuple[int, int]] = set()
    while len(chosen) < count:
        open_ = [
            int(j)
            for j in np.flatnonzero(reach >= least)
            if int(j) not in chosen and (int(parent[j]), int(j)) not in refused
        ]
        if not open_:
            break
        j = int(rng.choice(open_))
        if overlap.seen(j, int(parent[j])) < least:  # seen the other way round: occlusion, change of scale
            refused.add((int(parent[j]), j))
            continue
        chosen.append(j)
        row = overlap.row(j)
        parent = np.where(row > reach, j, parent)
        reach = np.maximum(row, reach)
    return chosen, reach

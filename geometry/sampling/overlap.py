"""Views that belong together: drawn so that each sees some of what another one of them sees.

How much two views share is measured by the best evidence that a scene has: its depth, reprojected; else
its sparse points, seen by both; else the space in front of the cameras. It is measured once, for all pairs,
and kept with the scene (`geometry.sampling.prepared`).
"""

import numpy as np
import scipy.sparse
from jaxtyping import Float, UInt8

from geometry.errors import InputError
from geometry.sampling.far_depth import is_far
from geometry.scenes.scene import Scene

_GRID = (12, 16)  # rows and columns of the pixels with depth that stand for a view
_SPACE_GRID = (6, 8)  # likewise where there is no depth, at each of three distances
_CELLS = (72, 96)  # of which a view's depth is remembered: the least and the greatest in each
_DEPTH_TOLERANCE = 0.05  # relative: two depths are of one surface
_ATTEMPTS = 4
_FEWEST_PIXELS = 16  # of the grid with depth, for depth to be evidence


def overlap_of(scene: Scene) -> UInt8[np.ndarray, "V V"]:
    """Share of what each view sees that each other view sees, of both directions the lesser, in 255ths.

    The lesser, because a detail is wholly inside an overview, which it hardly shows. 255 between a view and
    itself; 0 with views that have no camera. Where there is depth, occlusion counts.
    """
    known = scene.known
    share = np.zeros((len(scene), len(scene)))
    if known:
        share[np.ix_(known, known)] = _Views(scene.select(known)).shares()
    share = np.minimum(share, share.T)
    np.fill_diagonal(share, 1.0)
    return np.rint(share * 255).astype(np.uint8)


class _Views:
    """All cameras of a scene, and what is remembered of each one's depth."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.to_pixels = scene.intrinsics @ scene.extrinsics[:, :3]  # [V, 3, 4]
        self.to_world = np.linalg.inv(scene.extrinsics)
        self.sizes = np.array([frame.image_size for frame in scene.frames])
        self.nearest = np.zeros((len(scene), *_CELLS), np.float32)  # z-depth in each cell, 0 without
        self.farthest = np.zeros_like(self.nearest)

    def shares(self) -> Float[np.ndarray, "V V"]:
        """Of the view in the row, in the view in the column."""
        measured = [self._read_depth(i) for i in range(len(self.scene))]
        self.blind = ~self.farthest.any(axis=(1, 2))
        from_points = self._from_points()
        rows = []
        for i, points in enumerate(measured):
            if points is not None:
                rows.append(self._from_depth(points))
            elif from_points is not None and len(self.scene.visibility[i]):  # type: ignore[index]
                rows.append(from_points[i])
            else:
                rows.append(self._from_space(i))
        return np.stack(rows)

    def _read_depth(self, i: int) -> Float[np.ndarray, "P 3"] | None:
        """World points of a grid of view i's pixels with depth; None if there are too few."""
        try:
            depth = self.scene.frames[i].load_depth()
        except InputError:  # met again, and told, when the view is drawn
            return None
        if depth is None:
            return None
        depth = np.where(is_far(depth), 0, depth)
        rows, columns = (np.arange(n) * side // n for n, side in zip(_CELLS, depth.shape))
        known = np.where(depth > 0, depth, np.inf)
        nearest = np.minimum.reduceat(np.minimum.reduceat(known, rows, axis=0), columns, axis=1)
        self.nearest[i] = np.where(np.isfinite(nearest), nearest, 0)
        self.farthest[i] = np.maximum.reduceat(np.maximum.reduceat(depth, rows, axis=0), columns, axis=1)
        rows, columns = (((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(_GRID, depth.shape))
        z = depth[np.ix_(rows, columns)]
        return self._unproject(i, z)[z > 0] if (z > 0).sum() >= _FEWEST_PIXELS else None

    def _unproject(self, i: int, z: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
        """World points of depths at the centres of the cells that tile view i's image."""
        (h, w), (H, W) = z.shape, self.sizes[i]
        x, y = np.meshgrid((np.arange(w) + 0.5) * W / w, (np.arange(h) + 0.5) * H / h)
        rays = np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(self.scene.frames[i].intrinsics).T
        return (rays * z[..., None]) @ self.to_world[i, :3, :3].T + self.to_world[i, :3, 3]

    def _project(self, points: Float[np.ndarray, "P 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether each world point lies in each view's image, where (0..1, across and down), and its z."""
        local = points @ self.to_pixels[:, :, :3].transpose(0, 2, 1) + self.to_pixels[:, None, :, 3]
        z = local[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            place = local[..., :2] / z[..., None] / self.sizes[:, None, ::-1]
        inside = (z > 1e-9) & (place >= 0).all(-1) & (place < 1).all(-1)
        return inside, np.where(inside[..., None], place, 0), z

    def _from_depth(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " V"]:
        inside, place, z = self._project(points)
        columns, rows = (place * _CELLS[::-1]).astype(int).transpose(2, 0, 1)
        view = np.arange(len(z))[:, None]
        least, most = self.nearest[view, rows, columns], self.farthest[view, rows, columns]
        agree = inside & (z > least * (1 - _DEPTH_TOLERANCE)) & (z < most * (1 + _DEPTH_TOLERANCE))
        # Where a view has no depth it is no evidence: such pixels do not count.
        counted = ~inside | (most > 0)
        share = (agree & counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        return np.where(self.blind, inside.mean(axis=1), share)

    def _from_points(self) -> Float[np.ndarray, "V V"] | None:
        """Share of each view's sparse points that each other one observed."""
        seen = self.scene.visibility
        if seen is None:
            return None
        lengths = np.array([len(rows) for rows in seen])
        ends = np.concatenate(([0], np.cumsum(lengths)))
        ones = np.ones(ends[-1], np.float32)
        shape = (len(seen), len(self.scene.points))  # type: ignore[arg-type]
        observed = scipy.sparse.csr_array((ones, np.concatenate(seen), ends), shape=shape)
        return (observed @ observed.T).toarray() / np.maximum(lengths, 1)[:, None]

    def _from_space(self, i: int) -> Float[np.ndarray, " V"]:
        """Share of the space in front of view i that the others see from the same side.

        How far away things are is unknown; distances between a tenth and the whole of the cameras' own
        extent (twice the 90th percentile of distances from their middle, 1 if that is 0) all count alike.
        """
        centres = self.to_world[:, :3, 3]
        away = np.linalg.norm(centres - np.median(centres, axis=0), axis=1)
        distances = (2 * np.quantile(away, 0.9) or 1.0) * np.array([0.1, 0.3, 1.0])
        points = np.concatenate([self._unproject(i, np.full(_SPACE_GRID, d)) for d in distances])
        points = points.reshape(-1, 3)
        inside, _, _ = self._project(points)
        same_side = np.einsum("pi,vpi->vp", points - centres[i], points - centres[:, None]) > 0
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
    if not scene.posed:
        raise InputError(f"{scene.name}: expected a camera for every frame, found some without")
    overlap = overlap_of(scene) if scene.overlap is None else scene.overlap
    walks = []
    for attempt in range(_ATTEMPTS):
        walks.append(_walk(overlap, count, rng, 255 * least * 0.5**attempt))
        if len(walks[-1][0]) == count:
            return walks[-1][0]
    chosen, reach = max(walks, key=lambda walk: len(walk[0]))
    order = np.argsort(-reach.astype(int), kind="stable").tolist()
    return chosen + [j for j in order if j not in chosen][: count - len(chosen)]


def _walk(
    overlap: UInt8[np.ndarray, "V V"], count: int, rng: np.random.Generator, least: float
) -> tuple[list[int], UInt8[np.ndarray, " V"]]:
    """Views reached, and how much each view shares with the chosen one that it shares most with."""
    chosen = [int(rng.integers(len(overlap)))]
    reach = overlap[chosen[0]]
    while len(chosen) < count:
        near = reach >= least
        near[chosen] = False
        if not near.any():
            break
        chosen.append(int(rng.choice(np.flatnonzero(near))))
        reach = np.maximum(reach, overlap[chosen[-1]])
    return chosen, reach

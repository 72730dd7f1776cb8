"""Agreement of views on each other's depth: counted for a result, or as evidence for the next round."""

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.compiled import compiled
from nvs.rasterizer.cpu.threads import run

TOLERANCE = 0.015  # relative difference of depth up to which two surfaces are the same
_CLEARLY = 3.0  # tolerances from which on a point lies in front of a surface


def count_agreement(
    depth: Float[np.ndarray, "V H W"],
    believed: Bool[np.ndarray, "V H W"],
    maps: Float[np.ndarray, "V S 2 3 3"],
    others: Int[np.ndarray, "V S"],
) -> tuple[Int[np.ndarray, "V H W"], Int[np.ndarray, "V H W"]]:
    """For every pixel's point, how many other views see a surface there, and how many see through it.

    Args:
        believed: whose depth may contradict others; the rest can only agree.
        maps: of `pixel_maps`, for ``others``.
    """
    same, through = np.zeros(depth.shape, np.int32), np.zeros(depth.shape, np.int32)
    run(_count, depth, believed, maps.astype(np.float32), others, same, through)
    return same, through


def add_evidence(
    cost: Float[np.ndarray, "V H W P"],
    inverse: Float[np.ndarray, "V P"],
    depth: Float[np.ndarray, "V H W"],
    trusted: Bool[np.ndarray, "V H W"],
    maps: Float[np.ndarray, "V S 2 3 3"],
    others: Int[np.ndarray, "V S"],
    *,
    reward: float = 0.3,
    penalty: float = 0.3,
) -> None:
    """Change matching costs in place by the trusted depth of other views.

    A plane's point that lies on a surface that another view trusts costs less (a surface is there);
    one that lies in front of such a surface costs more (that view looks through the place). What is occluded
    by a surface stays as it was.

    Args:
        inverse: 1 / z-depth of each view's planes.
        reward, penalty: of one view; two views count double, further ones nothing.
    """
    # Zero where nothing is known, and in a line below: there all that lies outside is looked up.
    known = np.pad(np.where(trusted, depth, 0), ((0, 0), (0, 1), (0, 0))).reshape(len(depth), -1)
    weights = np.float32(reward), np.float32(penalty)
    run(_add, cost, inverse, known.astype(np.float32), maps.astype(np.float32), others, *weights)


@compiled
def _at_infinity(A, x, y):
    return (
        A[0, 0] * x + A[0, 1] * y + A[0, 2],
        A[1, 0] * x + A[1, 1] * y + A[1, 2],
        A[2, 0] * x + A[2, 1] * y + A[2, 2],
    )


@compiled
def _look(depth, other, far, shift, w):
    """Row and column of a point in the other view, and its depth over the surface's; or -1, -1, 0.

    Args:
        far: the pixel at infinite depth, homogeneous.
        shift: what a unit of inverse depth ``w`` adds to it.
    """
    z = far[2] + w * shift[2]
    if z > 0:
        column = (far[0] + w * shift[0]) / z + np.float32(0.5)
        row = (far[1] + w * shift[1]) / z + np.float32(0.5)
        if 0 <= column < depth.shape[2] and 0 <= row < depth.shape[1]:
            return int(row), int(column), z / (w * depth[other, int(row), int(column)])
    return -1, -1, np.float32(0)


@compiled
def _count(worker, workers, depth, believed, maps, others, same, through):
    V, H, W = depth.shape
    one, tolerance = np.float32(1), np.float32(TOLERANCE)
    for line in range(worker, V * H, workers):
        view, y = line // H, line % H
        for s in range(others.shape[1]):
            other, A, B = others[view, s], maps[view, s, 0], maps[view, s, 1]
            shift = B[0, 2], B[1, 2], B[2, 2]
            for x in range(W):
                far = _at_infinity(A, np.float32(x), np.float32(y))
                row, column, ratio = _look(depth, other, far, shift, one / depth[view, y, x])
                if row < 0:
                    continue
                if abs(ratio - one) < tolerance:
                    same[view, y, x] += 1
                elif believed[other, row, column] and ratio < one - np.float32(_CLEARLY) * tolerance:
                    through[view, y, x] += 1


@compiled
def _add(worker, workers, cost, inverse, known, maps, others, reward, penalty):
    V, H, W, P = cost.shape
    half, zero, one, two = np.float32(0.5), np.float32(0), np.float32(1), np.float32(2)
    near, before = np.float32(TOLERANCE), one - np.float32(_CLEARLY * TOLERANCE)
    right, bottom = np.float32(W), np.float32(H)
    support, against = np.empty((W, P), np.float32), np.empty((W, P), np.float32)
    z, at, surface = np.empty(P, np.float32), np.empty(P, np.int32), np.empty(P, np.float32)
    for line in range(worker, V * H, workers):
        view, y = line // H, line % H
        w = inverse[view]
        support[:] = 0
        against[:] = 0
        for s in range(others.shape[1]):
            seen, A, B = known[others[view, s]], maps[view, s, 0], maps[view, s, 1]
            shift = B[0, 2], B[1, 2], B[2, 2]
            for x in range(W):
                far = _at_infinity(A, np.float32(x), np.float32(y))
                for p in range(P):  # three loops, so that the first and the last are done many planes at once
                    depth = far[2] + w[p] * shift[2]
                    column = (far[0] + w[p] * shift[0]) / depth + half
                    row = (far[1] + w[p] * shift[1]) / depth + half
                    inside = (
                        (depth > zero) & (column >= zero) & (column < right) & (row >= zero) & (row < bottom)
                    )
                    z[p] = depth if inside else one
                    column, row = column if inside else zero, row if inside else bottom
                    at[p] = np.int32(row) * np.int32(W) + np.int32(column)
                for p in range(P):
                    surface[p] = seen[np.uint32(at[p])]
                for p in range(P):
                    there = w[p] * surface[p]  # 0 where nothing is known: neither is true then
                    support[x, p] += one if abs(z[p] - there) < near * there else zero
                    against[x, p] += one if z[p] < before * there else zero
        for x in range(W):
            for p in range(P):
                cost[view, y, x, p] += penalty * min(against[x, p], two) - reward * min(support[x, p], two)

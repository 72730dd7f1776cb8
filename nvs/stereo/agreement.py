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
    weights = np.float32(reward), np.float32(penalty)
    run(_add, cost, inverse, depth, trusted, maps.astype(np.float32), others, *weights)


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
def _add(worker, workers, cost, inverse, depth, trusted, maps, others, reward, penalty):
    V, H, W, P = cost.shape
    one, two, tolerance = np.float32(1), np.float32(2), np.float32(TOLERANCE)
    support, against = np.empty((W, P), np.float32), np.empty((W, P), np.float32)
    for line in range(worker, V * H, workers):
        view, y = line // H, line % H
        support[:] = 0
        against[:] = 0
        for s in range(others.shape[1]):
            other, A, B = others[view, s], maps[view, s, 0], maps[view, s, 1]
            shift = B[0, 2], B[1, 2], B[2, 2]
            for x in range(W):
                far = _at_infinity(A, np.float32(x), np.float32(y))
                for p in range(P):
                    row, column, ratio = _look(depth, other, far, shift, inverse[view, p])
                    if row < 0 or not trusted[other, row, column]:
                        continue
                    if abs(ratio - one) < tolerance:
                        support[x, p] += one
                    elif ratio < one - np.float32(_CLEARLY) * tolerance:
                        against[x, p] += one
        for x in range(W):
            for p in range(P):
                cost[view, y, x, p] += penalty * min(against[x, p], two) - reward * min(support[x, p], two)

"""Semi-global smoothing of a matching volume: neighbours should lie on the same or the next plane."""

import numpy as np
from jaxtyping import Float

from geometry.compiled import compiled
from nvs.rasterizer.cpu.threads import run


def semi_global(
    cost: Float[np.ndarray, "V H W P"],
    grey: Float[np.ndarray, "V H W"],
    *,
    step: float = 0.05,
    jump: float = 0.6,
    edge: float = 0.06,
) -> Float[np.ndarray, "V H W P"]:
    """Mean over four directions of the cost of the best path of planes that ends at a pixel on a plane.

    A path costs ``step`` to change to the next plane and up to ``jump`` to any other, less where the photo
    has an edge: depth jumps at edges.

    Args:
        cost: 0..1 or so, low where the photos agree.
        edge: grey-level difference at which a jump costs half.

    Source: Hirschmueller 2008, with four directions.
    """
    total = np.zeros_like(cost)
    run(_directions, cost, grey, np.float32(step), np.float32(jump), np.float32(edge), total)
    return total


@compiled
def _directions(worker, workers, cost, grey, step, jump, edge, total):
    """All four directions of every ``workers``-th view."""
    V, H, W, P = cost.shape
    for view in range(worker, V, workers):
        along = np.empty((W, P), np.float32)
        for backward in range(2):
            # Along rows: one path at a time.
            for y in range(H):
                for i in range(W):
                    x = W - 1 - i if backward else i
                    if i == 0:
                        along[0] = cost[view, y, x]
                    else:
                        before = x + 1 if backward else x - 1
                        price = _price(grey[view, y, x] - grey[view, y, before], step, jump, edge)
                        _advance(along[0], cost[view, y, x], step, price, along[1])
                    total[view, y, x] += np.float32(0.25) * along[0]
            # Along columns: all of them row by row, so that memory is read in order.
            spare = np.empty(P, np.float32)
            for i in range(H):
                y = H - 1 - i if backward else i
                before = y + 1 if backward else y - 1
                for x in range(W):
                    if i == 0:
                        along[x] = cost[view, y, x]
                    else:
                        price = _price(grey[view, y, x] - grey[view, before, x], step, jump, edge)
                        _advance(along[x], cost[view, y, x], step, price, spare)
                    total[view, y, x] += np.float32(0.25) * along[x]


@compiled
def _price(difference, step, jump, edge):
    return step + (jump - step) / (np.float32(1) + abs(difference) / edge)


@compiled
def _advance(path, cost, step, price, spare):
    """One pixel further: ``path`` in place."""
    P = len(path)
    least = path[0]
    for p in range(1, P):
        least = min(least, path[p])
    for p in range(P):
        spare[p] = min(path[p] - least, price)
    for p in range(1, P):
        spare[p] = min(spare[p], path[p - 1] - least + step)
    for p in range(P - 1):
        spare[p] = min(spare[p], path[p + 1] - least + step)
    for p in range(P):
        path[p] = spare[p] + cost[p]

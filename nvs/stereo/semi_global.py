"""Semi-global smoothing of a matching volume: neighbours should lie on the same or the next plane."""

import numpy as np
from jaxtyping import Float

from geometry.compiled import compiled, finite, inlined
from nvs.rasterizer.cpu.threads import run

QUARTER = np.float32(0.25)


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
    total = np.empty_like(cost)
    run(_directions, cost, grey, np.float32(step), np.float32(jump), np.float32(edge), total)
    return total


@compiled
def _directions(worker, workers, cost, grey, step, jump, edge, total):
    """All four directions of every ``workers``-th view, in two passes: down, with both along rows, and up."""
    V, H, W, P = cost.shape
    along, spare, upright = np.empty(P, np.float32), np.empty(P, np.float32), np.empty((W, P), np.float32)
    for view in range(worker, V, workers):
        costs, greys, totals = cost[view], grey[view], total[view]
        for y in range(H):
            for x in range(W):
                _follow(along, costs[y, x], greys, y, x, y, x - 1, x == 0, step, jump, edge, spare)
                _follow(upright[x], costs[y, x], greys, y, x, y - 1, x, y == 0, step, jump, edge, spare)
                for p in range(P):
                    totals[y, x, p] = QUARTER * along[p] + QUARTER * upright[x, p]
            for x in range(W - 1, -1, -1):
                _follow(along, costs[y, x], greys, y, x, y, x + 1, x == W - 1, step, jump, edge, spare)
                for p in range(P):
                    totals[y, x, p] += QUARTER * along[p]
        for y in range(H - 1, -1, -1):
            for x in range(W):
                _follow(upright[x], costs[y, x], greys, y, x, y + 1, x, y == H - 1, step, jump, edge, spare)
                for p in range(P):
                    totals[y, x, p] += QUARTER * upright[x, p]


@inlined
def _follow(path, cost, grey, y, x, y_before, x_before, first, step, jump, edge, spare):
    """Bring a path from the pixel before to this one, or start it."""
    if first:
        for p in range(len(path)):
            path[p] = cost[p]
    else:
        price = _price(grey[y, x] - grey[y_before, x_before], step, jump, edge)
        _advance(path, cost, step, price, spare)


@compiled
def _price(difference, step, jump, edge):
    return step + (jump - step) / (np.float32(1) + abs(difference) / edge)


@finite
def _advance(path, cost, step, price, spare):
    """One pixel further: ``path`` in place."""
    P = len(path)
    least = path[0]
    for p in range(1, P):
        least = min(least, path[p])
    jumped = least + price
    spare[0] = min(min(path[0], jumped), path[1] + step)
    for p in range(1, P - 1):
        spare[p] = min(min(path[p], jumped), min(path[p - 1], path[p + 1]) + step)
    spare[P - 1] = min(min(path[P - 1], jumped), path[P - 2] + step)
    for p in range(P):
        path[p] = spare[p] - least + cost[p]

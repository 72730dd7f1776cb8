"""The nearest primitive on a ray, through the bounding volume hierarchy."""

from geometry.worlds import columns as at
from geometry.worlds.kernel.arrays import INF, compiled, inlined
from geometry.worlds.kernel.intersection import intersect


@inlined
def _enters(box, n, o, inverse, tmax):
    """Where the ray enters a node's box, or inf; reciprocal directions are given."""
    a, b = (box[n, 0] - o[0]) * inverse[0], (box[n, 3] - o[0]) * inverse[0]
    enter, leave = min(a, b), max(a, b)
    a, b = (box[n, 1] - o[1]) * inverse[1], (box[n, 4] - o[1]) * inverse[1]
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    a, b = (box[n, 2] - o[2]) * inverse[2], (box[n, 5] - o[2]) * inverse[2]
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter if leave >= max(enter, 0.0) and enter < tmax else INF


@inlined
def _reciprocal(x):
    """A zero would give 0 * inf = nan on a box's face; a tiny number only misses by rounding."""
    return 1.0 / (x if abs(x) > 1e-12 else 1e-12)


@compiled
def trace(S, stack, o, d, tmin, tmax, shadow):
    """Nearest hit (t, primitive), or (inf, -1). With ``shadow`` any hit will do: the first found."""
    inverse = _reciprocal(d[0]), _reciprocal(d[1]), _reciprocal(d[2])
    best, hit = tmax, -1
    depth = 0
    if _enters(S.node_box, 0, o, inverse, best) < INF:
        stack[0] = 0
        depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        left = S.node_child[node, 0]
        if left < 0:
            i = -1 - left
            if shadow and S.primitives[i, at.CASTS_SHADOW] == 0:
                continue
            t = intersect(S, i, o, d, tmin, best)
            if t < best:
                best, hit = t, i
                if shadow:
                    return best, hit
            continue
        right = S.node_child[node, 1]
        a = _enters(S.node_box, left, o, inverse, best)
        b = _enters(S.node_box, right, o, inverse, best)
        if b < a:  # the nearer child is visited first: it is pushed last
            left, right, a, b = right, left, b, a
        if b < INF:
            stack[depth] = right
            depth += 1
        if a < INF:
            stack[depth] = left
            depth += 1
    return (best, hit) if hit >= 0 else (INF, -1)

"""The nearest primitive on a ray, through the bounding volume hierarchy."""

from geometry.worlds.kernel.arrays import CASTS_SHADOW, INF, compiled, inlined
from geometry.worlds.kernel.intersection import intersect


@inlined
def _enters(box, n, ox, oy, oz, ix, iy, iz, tmax):
    """Where the ray enters a node's box, or inf; reciprocal directions are given."""
    a, b = (box[n, 0] - ox) * ix, (box[n, 3] - ox) * ix
    enter, leave = min(a, b), max(a, b)
    a, b = (box[n, 1] - oy) * iy, (box[n, 4] - oy) * iy
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    a, b = (box[n, 2] - oz) * iz, (box[n, 5] - oz) * iz
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter if leave >= max(enter, 0.0) and enter < tmax else INF


@compiled
def trace(S, stack, ox, oy, oz, dx, dy, dz, tmin, tmax, shadow):
    """Nearest hit (t, primitive), or (inf, -1). With ``shadow`` any hit will do: the first found."""
    # A zero component would give 0 * inf = nan on a box's face; a tiny one only misses by rounding.
    ix = 1.0 / (dx if abs(dx) > 1e-12 else 1e-12)
    iy = 1.0 / (dy if abs(dy) > 1e-12 else 1e-12)
    iz = 1.0 / (dz if abs(dz) > 1e-12 else 1e-12)
    best, hit = tmax, -1
    depth = 0
    if _enters(S.node_box, 0, ox, oy, oz, ix, iy, iz, best) < INF:
        stack[0] = 0
        depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        left = S.node_child[node, 0]
        if left < 0:
            i = -1 - left
            if shadow and S.primitives[i, CASTS_SHADOW] == 0:
                continue
            t = intersect(S, i, ox, oy, oz, dx, dy, dz, tmin, best)
            if t < best:
                best, hit = t, i
                if shadow:
                    return best, hit
            continue
        right = S.node_child[node, 1]
        a = _enters(S.node_box, left, ox, oy, oz, ix, iy, iz, best)
        b = _enters(S.node_box, right, ox, oy, oz, ix, iy, iz, best)
        if b < a:  # the nearer child is visited first: it is pushed last
            left, right, a, b = right, left, b, a
        if b < INF:
            stack[depth] = right
            depth += 1
        if a < INF:
            stack[depth] = left
            depth += 1
    return (best, hit) if hit >= 0 else (INF, -1)

"""Where a ray meets one primitive: closed forms, sphere tracing, marching over a height field."""

import math

from geometry.worlds import columns as at
from geometry.worlds.kernel.arrays import INF, inlined
from geometry.worlds.kernel.shapes import distance_to, height_at, plane
from geometry.worlds.kernel.vectors import along, divided, dot, less, row, to_local
from geometry.worlds.world import Shape

MARCH_STEPS = 80


@inlined
def _above(S, which, sx, sy, q, e, t):
    """Height of the ray's point at t over a sheet's map."""
    x, y, z = along(q, t, e)
    return z - height_at(S.heights, which, x * sx + 0.5, y * sy + 0.5)


@inlined
def intersect(S, i, o, d, tmin, tmax):
    """Nearest parameter in (tmin, tmax) at which the ray meets primitive i, from either side; else inf."""
    P = S.primitives
    p = less(o, row(P, i, at.CENTRE))
    # Start at the point nearest the primitive's centre: quadratics then keep their digits from afar.
    shift = -dot(p, d) / dot(d, d)
    q, e = to_local(P, i, along(p, shift, d)), to_local(P, i, d)
    lo, hi = tmin - shift, tmax - shift
    kind = int(P[i, at.KIND])
    half = row(P, i, at.HALF)

    if kind in (Shape.ELLIPSOID, Shape.FRUSTUM, Shape.POLYTOPE):
        q, e = divided(q, half), divided(e, half)
    qx, qy, qz = q
    ex, ey, ez = e

    if kind == Shape.ELLIPSOID:
        aa = dot(e, e)
        middle = -dot(q, e) / aa
        nearest = along(q, middle, e)
        disc = (1.0 - dot(nearest, nearest)) / aa
        if disc < 0:
            return INF
        root = math.sqrt(disc)
        t = middle - root
        if t <= lo:
            t = middle + root
        return t + shift if lo < t < hi else INF

    if kind == Shape.FRUSTUM:
        mean, slope = 0.5 * (P[i, at.SHAPE] + 1.0), 0.5 * (P[i, at.SHAPE] - 1.0)
        radius = mean + slope * qz
        aa = ex * ex + ey * ey - slope * slope * ez * ez
        if abs(aa) < 1e-9:
            aa = 1e-9
        bb = qx * ex + qy * ey - radius * slope * ez
        cc = qx * qx + qy * qy - radius * radius
        best = INF
        disc = bb * bb - aa * cc
        if disc >= 0:
            root = math.sqrt(disc)
            for sign in (-1.0, 1.0):
                t = (-bb + sign * root) / aa
                if lo < t < hi and t < best and abs(qz + t * ez) <= 1.0:
                    best = t
        if P[i, at.SHAPE + 1] < 0.5 and ez != 0.0:
            for cap in (-1.0, 1.0):
                t = (cap - qz) / ez
                x, y = qx + t * ex, qy + t * ey
                r = mean + slope * cap
                if lo < t < hi and t < best and x * x + y * y <= r * r:
                    best = t
        return best + shift

    enter, leave = -INF, INF
    if kind == Shape.POLYTOPE:
        for k in range(int(P[i, at.SHAPE])):
            normal, offset = plane(P, i, k)
            speed, gap = dot(normal, e), offset - dot(normal, q)
            if speed < 0:
                enter = max(enter, gap / speed)
            elif speed > 0:
                leave = min(leave, gap / speed)
            elif gap < 0:
                return INF
    else:
        for a, b, h in ((qx, ex, half[0]), (qy, ey, half[1]), (qz, ez, half[2])):
            if b == 0.0:
                if abs(a) > h:
                    return INF
            else:
                inv = 1.0 / b
                first, second = (-h - a) * inv, (h - a) * inv
                enter = max(enter, min(first, second))
                leave = min(leave, max(first, second))
    if enter > leave or leave <= lo or enter >= hi:
        return INF
    if kind in (Shape.BOX, Shape.POLYTOPE):
        t = enter if enter > lo else leave
        return t + shift if lo < t < hi else INF

    t, end = max(enter, lo), min(leave, hi)
    if kind == Shape.HEIGHT:
        flat = math.sqrt(ex * ex + ey * ey)
        bound = abs(ez) + P[i, at.SHAPE + 1] * flat + 1e-12
        # Never less than a quarter of a cell on: peaks thinner than that do not exist in the map.
        least = 0.5 * min(half[0], half[1]) / (S.heights.shape[1] - 1) / (flat + abs(ez) + 1e-12)
        which, sx, sy = int(P[i, at.SHAPE]), 0.5 / half[0], 0.5 / half[1]
        above = _above(S, which, sx, sy, q, e, t)
        for _ in range(4 * MARCH_STEPS):
            last, last_above = t, above
            t = min(t + max(abs(above) / bound, least), end)
            above = _above(S, which, sx, sy, q, e, t)
            if above * last_above <= 0.0:
                for _ in range(20):
                    middle = 0.5 * (last + t)
                    if _above(S, which, sx, sy, q, e, middle) * last_above > 0.0:
                        last = middle
                    else:
                        t = middle
                t = 0.5 * (last + t)
                return t + shift if lo < t < hi else INF
            if t >= end:
                return INF
        return INF

    speed = math.sqrt(dot(e, e))
    close = 2e-5 * max(half[0], max(half[1], half[2]))
    for _ in range(MARCH_STEPS):
        gap = abs(distance_to(P, i, kind, along(q, t, e)))
        t += gap / speed
        if t >= end:
            return INF
        if gap < close:
            return t + shift if lo < t < hi else INF
    return INF

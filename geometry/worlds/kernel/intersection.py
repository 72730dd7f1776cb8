"""Where a ray meets one primitive: closed forms, sphere tracing, marching over a height field."""

import math

from geometry.worlds.kernel.arrays import (
    BOX,
    CENTRE,
    ELLIPSOID,
    FRUSTUM,
    HALF,
    HEIGHT,
    INF,
    KIND,
    POLYTOPE,
    SHAPE,
    inlined,
)
from geometry.worlds.kernel.shapes import distance_to, height_at, to_local

MARCH_STEPS = 80


@inlined
def intersect(S, i, ox, oy, oz, dx, dy, dz, tmin, tmax):
    """Nearest parameter in (tmin, tmax) at which the ray meets primitive i, from either side; else inf."""
    P = S.primitives
    px, py, pz = ox - P[i, CENTRE], oy - P[i, CENTRE + 1], oz - P[i, CENTRE + 2]
    # Start at the point nearest the primitive's centre: quadratics then keep their digits from afar.
    shift = -(px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
    px, py, pz = px + shift * dx, py + shift * dy, pz + shift * dz
    qx, qy, qz = to_local(P, i, px, py, pz)
    ex, ey, ez = to_local(P, i, dx, dy, dz)
    lo, hi = tmin - shift, tmax - shift
    kind = int(P[i, KIND])

    if kind in (ELLIPSOID, FRUSTUM, POLYTOPE):
        qx, qy, qz = qx / P[i, HALF], qy / P[i, HALF + 1], qz / P[i, HALF + 2]
        ex, ey, ez = ex / P[i, HALF], ey / P[i, HALF + 1], ez / P[i, HALF + 2]

    if kind == ELLIPSOID:
        aa = ex * ex + ey * ey + ez * ez
        middle = -(qx * ex + qy * ey + qz * ez) / aa
        lx, ly, lz = qx + middle * ex, qy + middle * ey, qz + middle * ez
        disc = (1.0 - (lx * lx + ly * ly + lz * lz)) / aa
        if disc < 0:
            return INF
        root = math.sqrt(disc)
        t = middle - root
        if t <= lo:
            t = middle + root
        return t + shift if lo < t < hi else INF

    if kind == FRUSTUM:
        mean, slope = 0.5 * (P[i, SHAPE] + 1.0), 0.5 * (P[i, SHAPE] - 1.0)
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
        if P[i, SHAPE + 1] < 0.5 and ez != 0.0:
            for cap in (-1.0, 1.0):
                t = (cap - qz) / ez
                x, y = qx + t * ex, qy + t * ey
                r = mean + slope * cap
                if lo < t < hi and t < best and x * x + y * y <= r * r:
                    best = t
        return best + shift

    enter, leave = -INF, INF
    if kind == POLYTOPE:
        for k in range(int(P[i, SHAPE])):
            nx, ny, nz, d = (
                P[i, SHAPE + 1 + 4 * k],
                P[i, SHAPE + 2 + 4 * k],
                P[i, SHAPE + 3 + 4 * k],
                P[i, SHAPE + 4 + 4 * k],
            )
            speed = nx * ex + ny * ey + nz * ez
            gap = d - (nx * qx + ny * qy + nz * qz)
            if speed < 0:
                enter = max(enter, gap / speed)
            elif speed > 0:
                leave = min(leave, gap / speed)
            elif gap < 0:
                return INF
    else:
        for q, e, h in ((qx, ex, P[i, HALF]), (qy, ey, P[i, HALF + 1]), (qz, ez, P[i, HALF + 2])):
            if e == 0.0:
                if abs(q) > h:
                    return INF
            else:
                inv = 1.0 / e
                a, b = (-h - q) * inv, (h - q) * inv
                enter = max(enter, min(a, b))
                leave = min(leave, max(a, b))
    if enter > leave or leave <= lo or enter >= hi:
        return INF
    if kind in (BOX, POLYTOPE):
        t = enter if enter > lo else leave
        return t + shift if lo < t < hi else INF

    t, end = max(enter, lo), min(leave, hi)
    if kind == HEIGHT:
        which = int(P[i, SHAPE])
        flat = math.sqrt(ex * ex + ey * ey)
        bound = abs(ez) + P[i, SHAPE + 1] * flat + 1e-12
        # Never less than a quarter of a cell on: peaks thinner than that do not exist in the map.
        least = 0.5 * min(P[i, HALF], P[i, HALF + 1]) / (S.heights.shape[1] - 1) / (flat + abs(ez) + 1e-12)
        sx, sy = 0.5 / P[i, HALF], 0.5 / P[i, HALF + 1]
        above = qz + t * ez - height_at(S.heights, which, (qx + t * ex) * sx + 0.5, (qy + t * ey) * sy + 0.5)
        for _ in range(4 * MARCH_STEPS):
            last, last_above = t, above
            t = min(t + max(abs(above) / bound, least), end)
            above = (
                qz + t * ez - height_at(S.heights, which, (qx + t * ex) * sx + 0.5, (qy + t * ey) * sy + 0.5)
            )
            if above * last_above <= 0.0:
                for _ in range(20):
                    middle = 0.5 * (last + t)
                    value = (
                        qz
                        + middle * ez
                        - height_at(
                            S.heights, which, (qx + middle * ex) * sx + 0.5, (qy + middle * ey) * sy + 0.5
                        )
                    )
                    if value * last_above > 0.0:
                        last = middle
                    else:
                        t = middle
                t = 0.5 * (last + t)
                return t + shift if lo < t < hi else INF
            if t >= end:
                return INF
        return INF

    speed = math.sqrt(ex * ex + ey * ey + ez * ez)
    close = 2e-5 * max(P[i, HALF], max(P[i, HALF + 1], P[i, HALF + 2]))
    for _ in range(MARCH_STEPS):
        d = abs(distance_to(P, i, kind, qx + t * ex, qy + t * ey, qz + t * ez))
        t += d / speed
        if t >= end:
            return INF
        if d < close:
            return t + shift if lo < t < hi else INF
    return INF

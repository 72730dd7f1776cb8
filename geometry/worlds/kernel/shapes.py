"""Surfaces in their own frame: height, signed distance, normal, and what lies inside."""

import math

from geometry.worlds import columns as at
from geometry.worlds.kernel.arrays import INF, compiled, inlined
from geometry.worlds.kernel.vectors import divided, dot, less, row, to_local, unit
from geometry.worlds.world import Shape


@inlined
def height_at(heights, which, x, y):
    """Bilinear height at x, y in 0..1 of the map; cells at the border are extended."""
    size = heights.shape[1]
    x = min(max(x, 0.0), 1.0) * (size - 1)
    y = min(max(y, 0.0), 1.0) * (size - 1)
    i, j = min(int(x), size - 2), min(int(y), size - 2)
    a, b = x - i, y - j
    low = heights[which, j, i] * (1 - a) + heights[which, j, i + 1] * a
    high = heights[which, j + 1, i] * (1 - a) + heights[which, j + 1, i + 1] * a
    return low * (1 - b) + high * b


@inlined
def plane(P, i, k):
    """Normal and offset of face k of a polytope, in its unit cube."""
    return row(P, i, at.SHAPE + 1 + 4 * k), P[i, at.SHAPE + 4 + 4 * k]


@compiled
def distance_to(P, i, kind, p):
    """Signed distance of the marched shapes, local metres."""
    x, y, z = p
    if kind == Shape.TORUS:
        ring = math.sqrt(x * x + y * y) - P[i, at.SHAPE]
        return math.sqrt(ring * ring + z * z) - P[i, at.SHAPE + 1]
    if kind == Shape.ROUND_BOX:
        radius = P[i, at.SHAPE]
        a = abs(x) - P[i, at.HALF] + radius
        b = abs(y) - P[i, at.HALF + 1] + radius
        c = abs(z) - P[i, at.HALF + 2] + radius
        inside = min(max(a, max(b, c)), 0.0)
        a, b, c = max(a, 0.0), max(b, 0.0), max(c, 0.0)
        return math.sqrt(a * a + b * b + c * c) + inside - radius
    blend = P[i, at.SHAPE + 1]
    total = 1e9
    for k in range(int(P[i, at.SHAPE])):
        away = less(p, row(P, i, at.SHAPE + 2 + 4 * k))
        ball = math.sqrt(dot(away, away)) - P[i, at.SHAPE + 5 + 4 * k]
        gap = max(blend - abs(total - ball), 0.0) / blend
        total = min(total, ball) - gap * gap * blend * 0.25
    return total


@compiled
def local_normal(S, i, p):
    """Unit outward normal at a surface point, both in the primitive's frame."""
    P = S.primitives
    kind = int(P[i, at.KIND])
    x, y, z = p
    half = row(P, i, at.HALF)
    hx, hy, hz = half
    ux, uy, uz = divided(p, half)
    n = (0.0, 0.0, 1.0)
    if kind == Shape.BOX:
        # Relative to thickness would pick a thin box's edge too soon; absolute distance to the faces.
        ax, ay, az = (abs(ux) - 1) * hx, (abs(uy) - 1) * hy, (abs(uz) - 1) * hz
        if ax >= ay and ax >= az:
            n = (math.copysign(1.0, x), 0.0, 0.0)
        elif ay >= az:
            n = (0.0, math.copysign(1.0, y), 0.0)
        else:
            n = (0.0, 0.0, math.copysign(1.0, z))
    elif kind == Shape.ELLIPSOID:
        n = (x / (hx * hx), y / (hy * hy), z / (hz * hz))
    elif kind == Shape.FRUSTUM:
        mean, slope = 0.5 * (P[i, at.SHAPE] + 1.0), 0.5 * (P[i, at.SHAPE] - 1.0)
        radius = mean + slope * uz
        side = abs(math.sqrt(ux * ux + uy * uy) - radius) * hx
        if P[i, at.SHAPE + 1] < 0.5 and (1.0 - abs(uz)) * hz < side:
            n = (0.0, 0.0, math.copysign(1.0, z))
        else:
            n = (ux / hx, uy / hy, -slope * radius / hz)
    elif kind == Shape.POLYTOPE:
        most = -INF
        for k in range(int(P[i, at.SHAPE])):
            normal, offset = plane(P, i, k)
            value = dot(normal, (ux, uy, uz)) - offset
            if value > most:
                most = value
                n = divided(normal, half)
    elif kind == Shape.HEIGHT:
        maps, which = S.heights, int(P[i, at.SHAPE])
        step = 1.0 / (maps.shape[1] - 1)
        u, v = 0.5 * x / hx + 0.5, 0.5 * y / hy + 0.5
        across = height_at(maps, which, u + step, v) - height_at(maps, which, u - step, v)
        away = height_at(maps, which, u, v + step) - height_at(maps, which, u, v - step)
        n = (-across / (4 * step * hx), -away / (4 * step * hy), 1.0)
    else:
        step = 1e-3 * max(hx, max(hy, hz))
        n = (
            distance_to(P, i, kind, (x + step, y, z)) - distance_to(P, i, kind, (x - step, y, z)),
            distance_to(P, i, kind, (x, y + step, z)) - distance_to(P, i, kind, (x, y - step, z)),
            distance_to(P, i, kind, (x, y, z + step)) - distance_to(P, i, kind, (x, y, z - step)),
        )
    return unit(n)


@compiled
def inside(S, x, y, z):
    """Whether a world point lies in any solid, or under a sheet that it is above or below of."""
    P = S.primitives
    for i in range(P.shape[0]):
        q = to_local(P, i, less((x, y, z), row(P, i, at.CENTRE)))
        kind = int(P[i, at.KIND])
        u = divided(q, row(P, i, at.HALF))
        if abs(u[0]) > 1.0 or abs(u[1]) > 1.0 or u[2] > 1.0 or (u[2] < -1.0 and kind != Shape.HEIGHT):
            continue
        within = False
        if kind == Shape.BOX:
            within = True
        elif kind == Shape.ELLIPSOID:
            within = dot(u, u) < 1.0
        elif kind == Shape.FRUSTUM:
            radius = 0.5 * (P[i, at.SHAPE] + 1.0) + 0.5 * (P[i, at.SHAPE] - 1.0) * u[2]
            within = u[0] * u[0] + u[1] * u[1] < radius * radius
        elif kind == Shape.POLYTOPE:
            most = -INF
            for k in range(int(P[i, at.SHAPE])):
                normal, offset = plane(P, i, k)
                most = max(most, dot(normal, u) - offset)
            within = most < 0.0
        elif kind == Shape.HEIGHT:
            within = q[2] < height_at(S.heights, int(P[i, at.SHAPE]), 0.5 * u[0] + 0.5, 0.5 * u[1] + 0.5)
        else:
            within = distance_to(P, i, kind, q) < 0.0
        if within:
            return True
    return False

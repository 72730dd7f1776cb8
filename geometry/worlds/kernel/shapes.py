"""Surfaces in their own frame: height, signed distance, normal, and what lies inside."""

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
    ROTATION,
    ROUND_BOX,
    SHAPE,
    TORUS,
    compiled,
    inlined,
)


@inlined
def to_local(P, i, x, y, z):
    """Turn a world vector into primitive i's frame."""
    return (
        P[i, ROTATION] * x + P[i, ROTATION + 1] * y + P[i, ROTATION + 2] * z,
        P[i, ROTATION + 3] * x + P[i, ROTATION + 4] * y + P[i, ROTATION + 5] * z,
        P[i, ROTATION + 6] * x + P[i, ROTATION + 7] * y + P[i, ROTATION + 8] * z,
    )


@inlined
def to_world(P, i, x, y, z):
    """Turn a vector of primitive i's frame into the world's."""
    return (
        P[i, ROTATION] * x + P[i, ROTATION + 3] * y + P[i, ROTATION + 6] * z,
        P[i, ROTATION + 1] * x + P[i, ROTATION + 4] * y + P[i, ROTATION + 7] * z,
        P[i, ROTATION + 2] * x + P[i, ROTATION + 5] * y + P[i, ROTATION + 8] * z,
    )


@inlined
def height_at(heights, which, x, y):
    """Bilinear height at x, y in 0..1 of the map; cells at the border are extended."""
    size = heights.shape[1]
    x = min(max(x, 0.0), 1.0) * (size - 1)
    y = min(max(y, 0.0), 1.0) * (size - 1)
    i = min(int(x), size - 2)
    j = min(int(y), size - 2)
    a, b = x - i, y - j
    low = heights[which, j, i] * (1 - a) + heights[which, j, i + 1] * a
    high = heights[which, j + 1, i] * (1 - a) + heights[which, j + 1, i + 1] * a
    return low * (1 - b) + high * b


@compiled
def distance_to(P, i, kind, x, y, z):
    """Signed distance of the marched shapes, local metres."""
    if kind == TORUS:
        ring = math.sqrt(x * x + y * y) - P[i, SHAPE]
        return math.sqrt(ring * ring + z * z) - P[i, SHAPE + 1]
    if kind == ROUND_BOX:
        radius = P[i, SHAPE]
        a = abs(x) - P[i, HALF] + radius
        b = abs(y) - P[i, HALF + 1] + radius
        c = abs(z) - P[i, HALF + 2] + radius
        inside = min(max(a, max(b, c)), 0.0)
        a, b, c = max(a, 0.0), max(b, 0.0), max(c, 0.0)
        return math.sqrt(a * a + b * b + c * c) + inside - radius
    blend = P[i, SHAPE + 1]
    total = 1e9
    for k in range(int(P[i, SHAPE])):
        dx, dy, dz = x - P[i, SHAPE + 2 + 4 * k], y - P[i, SHAPE + 3 + 4 * k], z - P[i, SHAPE + 4 + 4 * k]
        ball = math.sqrt(dx * dx + dy * dy + dz * dz) - P[i, SHAPE + 5 + 4 * k]
        gap = max(blend - abs(total - ball), 0.0) / blend
        total = min(total, ball) - gap * gap * blend * 0.25
    return total


@compiled
def local_normal(S, i, x, y, z):
    """Unit outward normal at a surface point, both in the primitive's frame."""
    P = S.primitives
    kind = int(P[i, KIND])
    hx, hy, hz = P[i, HALF], P[i, HALF + 1], P[i, HALF + 2]
    nx, ny, nz = 0.0, 0.0, 0.0
    if kind == BOX:
        ax, ay, az = abs(x) / hx, abs(y) / hy, abs(z) / hz
        # Relative to thickness would pick a thin box's edge too soon; absolute distance to the faces.
        ax, ay, az = (ax - 1) * hx, (ay - 1) * hy, (az - 1) * hz
        if ax >= ay and ax >= az:
            nx = math.copysign(1.0, x)
        elif ay >= az:
            ny = math.copysign(1.0, y)
        else:
            nz = math.copysign(1.0, z)
    elif kind == ELLIPSOID:
        nx, ny, nz = x / (hx * hx), y / (hy * hy), z / (hz * hz)
    elif kind == FRUSTUM:
        mean, slope = 0.5 * (P[i, SHAPE] + 1.0), 0.5 * (P[i, SHAPE] - 1.0)
        ux, uy, uz = x / hx, y / hy, z / hz
        radius = mean + slope * uz
        side = abs(math.sqrt(ux * ux + uy * uy) - radius) * hx
        if P[i, SHAPE + 1] < 0.5 and (1.0 - abs(uz)) * hz < side:
            nz = math.copysign(1.0, z)
        else:
            nx, ny, nz = ux / hx, uy / hy, -slope * radius / hz
    elif kind == POLYTOPE:
        ux, uy, uz = x / hx, y / hy, z / hz
        most = -INF
        for k in range(int(P[i, SHAPE])):
            a, b, c, d = (
                P[i, SHAPE + 1 + 4 * k],
                P[i, SHAPE + 2 + 4 * k],
                P[i, SHAPE + 3 + 4 * k],
                P[i, SHAPE + 4 + 4 * k],
            )
            value = a * ux + b * uy + c * uz - d
            if value > most:
                most = value
                nx, ny, nz = a / hx, b / hy, c / hz
    elif kind == HEIGHT:
        which = int(P[i, SHAPE])
        step = 1.0 / (S.heights.shape[1] - 1)
        u, v = 0.5 * x / hx + 0.5, 0.5 * y / hy + 0.5
        nx = -(height_at(S.heights, which, u + step, v) - height_at(S.heights, which, u - step, v)) / (
            4 * step * hx
        )
        ny = -(height_at(S.heights, which, u, v + step) - height_at(S.heights, which, u, v - step)) / (
            4 * step * hy
        )
        nz = 1.0
    else:
        step = 1e-3 * max(hx, max(hy, hz))
        nx = distance_to(P, i, kind, x + step, y, z) - distance_to(P, i, kind, x - step, y, z)
        ny = distance_to(P, i, kind, x, y + step, z) - distance_to(P, i, kind, x, y - step, z)
        nz = distance_to(P, i, kind, x, y, z + step) - distance_to(P, i, kind, x, y, z - step)
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    return nx * inv, ny * inv, nz * inv


@compiled
def inside(S, x, y, z):
    """Whether a world point lies in any solid, or under a sheet that it is above or below of."""
    P = S.primitives
    for i in range(P.shape[0]):
        px, py, pz = x - P[i, CENTRE], y - P[i, CENTRE + 1], z - P[i, CENTRE + 2]
        qx, qy, qz = to_local(P, i, px, py, pz)
        kind = int(P[i, KIND])
        ux, uy, uz = qx / P[i, HALF], qy / P[i, HALF + 1], qz / P[i, HALF + 2]
        if abs(ux) > 1.0 or abs(uy) > 1.0 or uz > 1.0 or (uz < -1.0 and kind != HEIGHT):
            continue
        if kind == BOX:
            return True
        if kind == ELLIPSOID:
            if ux * ux + uy * uy + uz * uz < 1.0:
                return True
        elif kind == FRUSTUM:
            radius = 0.5 * (P[i, SHAPE] + 1.0) + 0.5 * (P[i, SHAPE] - 1.0) * uz
            if ux * ux + uy * uy < radius * radius:
                return True
        elif kind == POLYTOPE:
            most = -INF
            for k in range(int(P[i, SHAPE])):
                most = max(
                    most,
                    P[i, SHAPE + 1 + 4 * k] * ux
                    + P[i, SHAPE + 2 + 4 * k] * uy
                    + P[i, SHAPE + 3 + 4 * k] * uz
                    - P[i, SHAPE + 4 + 4 * k],
                )
            if most < 0.0:
                return True
        elif kind == HEIGHT:
            if qz < height_at(S.heights, int(P[i, SHAPE]), 0.5 * ux + 0.5, 0.5 * uy + 0.5):
                return True
        elif distance_to(P, i, kind, qx, qy, qz) < 0.0:
            return True
    return False

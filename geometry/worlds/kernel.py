"""The compiled CPU renderer: one ray at a time, traversal, texture and light fused in one pass.

Scalars are float64, so that depth is exact to rounding; `torch_renderer` is its batched twin and the
two must be changed together (a test compares their images). Compiled without the global lock and without
a threading layer of its own: the caller splits rows among threads, which also works in forked workers.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from geometry.worlds.scene import (
    AMBIENT_DOWN,
    AMBIENT_UP,
    BUMP,
    DETAIL,
    DETAIL_SCALE,
    EMISSION,
    FOG,
    FOG_DENSITY,
    GLOSS,
    MACRO,
    MACRO_SCALE,
    MIRROR,
    OCCLUSION,
    SPECULAR,
    SUN,
    TEXTURE_CHANNELS,
    TEXTURE_SCALE,
    Scene,
)

BOX, ELLIPSOID, FRUSTUM, POLYTOPE, TORUS, ROUND_BOX, BLOB, HEIGHT = range(8)
INF = np.inf
MARCH_STEPS = 80
SUBROWS = (0.375, 0.875, 0.125, 0.625)
EDGE_COSINE = 0.9  # neighbouring normals further apart than this make an edge

_options = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "arcp", "reassoc"},
}
_jit = njit(**_options)
_inline = njit(forceinline=True, **_options)


# Columns of `Arrays.primitives`.
CENTRE, ROTATION, HALF, UV, TINT = 0, 3, 12, 15, 19
KIND, MATERIAL, CASTS_SHADOW, SHAPE = 22, 23, 24, 25


class Arrays(NamedTuple):
    """Fields of `Scene` in the form that compiled code takes.

    What belongs to one primitive is one row: few arrays make cheap calls, and no function below takes a
    view of a row, since every view counts references, over which threads would wait for each other.
    """

    primitives: NDArray  # [N, 74] float32
    node_box: NDArray
    node_child: NDArray
    materials: NDArray
    textures: NDArray
    noise: NDArray
    heights: NDArray
    sky: NDArray
    lights: NDArray
    occluders: NDArray
    air: NDArray


def arrays_of(scene: Scene) -> Arrays:
    """The scene's tensors, which must be on the CPU, as compiled code takes them."""
    scalars = torch.stack((scene.kind, scene.material, scene.casts_shadow), 1).float()
    columns = (
        scene.centre,
        scene.rotation.flatten(1),
        scene.half_size,
        scene.uv,
        scene.tint,
        scalars,
        scene.shape,
    )
    rest = (getattr(scene, name).numpy() for name in Arrays._fields[1:])
    return Arrays(torch.cat(columns, 1).contiguous().numpy(), *rest)


# ---------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------


@_inline
def _to_local(P, i, x, y, z):
    """Turn a world vector into primitive i's frame."""
    return (
        P[i, ROTATION] * x + P[i, ROTATION + 1] * y + P[i, ROTATION + 2] * z,
        P[i, ROTATION + 3] * x + P[i, ROTATION + 4] * y + P[i, ROTATION + 5] * z,
        P[i, ROTATION + 6] * x + P[i, ROTATION + 7] * y + P[i, ROTATION + 8] * z,
    )


@_inline
def _to_world(P, i, x, y, z):
    """Turn a vector of primitive i's frame into the world's."""
    return (
        P[i, ROTATION] * x + P[i, ROTATION + 3] * y + P[i, ROTATION + 6] * z,
        P[i, ROTATION + 1] * x + P[i, ROTATION + 4] * y + P[i, ROTATION + 7] * z,
        P[i, ROTATION + 2] * x + P[i, ROTATION + 5] * y + P[i, ROTATION + 8] * z,
    )


@_inline
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


@_jit
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


@_inline
def intersect(S, i, ox, oy, oz, dx, dy, dz, tmin, tmax):
    """Nearest parameter in (tmin, tmax) at which the ray meets primitive i, from either side; else inf."""
    P = S.primitives
    px, py, pz = ox - P[i, CENTRE], oy - P[i, CENTRE + 1], oz - P[i, CENTRE + 2]
    # Start at the point nearest the primitive's centre: quadratics then keep their digits from afar.
    shift = -(px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
    px, py, pz = px + shift * dx, py + shift * dy, pz + shift * dz
    qx, qy, qz = _to_local(P, i, px, py, pz)
    ex, ey, ez = _to_local(P, i, dx, dy, dz)
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


@_jit
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


@_jit
def inside(S, x, y, z):
    """Whether a world point lies in any solid, or under a sheet that it is above or below of."""
    P = S.primitives
    for i in range(P.shape[0]):
        px, py, pz = x - P[i, CENTRE], y - P[i, CENTRE + 1], z - P[i, CENTRE + 2]
        qx, qy, qz = _to_local(P, i, px, py, pz)
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


# ---------------------------------------------------------------------------------------------
# Traversal
# ---------------------------------------------------------------------------------------------


@_inline
def _enters(box, n, ox, oy, oz, ix, iy, iz, tmax):
    """Where the ray enters a node's box, or inf; reciprocal directions are given."""
    a, b = (box[n, 0] - ox) * ix, (box[n, 3] - ox) * ix
    enter, leave = min(a, b), max(a, b)
    a, b = (box[n, 1] - oy) * iy, (box[n, 4] - oy) * iy
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    a, b = (box[n, 2] - oz) * iz, (box[n, 5] - oz) * iz
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter if leave >= max(enter, 0.0) and enter < tmax else INF


@_jit
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


# ---------------------------------------------------------------------------------------------
# Textures and sky
# ---------------------------------------------------------------------------------------------


@_inline
def _bilinear(pixels, m, offset, size, u, v, weight, out):
    """Add ``weight`` times one level's lookup to ``out``, all eight channels side by side."""
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    a, b = np.float32(x - fx), np.float32(y - fy)
    mask = size - 1
    i0, j0 = int(fx) & mask, int(fy) & mask
    i1, j1 = (i0 + 1) & mask, (j0 + 1) & mask
    one, scale = np.float32(1.0), np.float32(weight / 255.0)
    w00, w10 = (one - a) * (one - b) * scale, a * (one - b) * scale
    w01, w11 = (one - a) * b * scale, a * b * scale
    k00, k10 = offset + j0 * size + i0, offset + j0 * size + i1
    k01, k11 = offset + j1 * size + i0, offset + j1 * size + i1
    for c in range(TEXTURE_CHANNELS):
        out[c] += (
            w00 * np.float32(pixels[m, k00, c])
            + w10 * np.float32(pixels[m, k10, c])
            + w01 * np.float32(pixels[m, k01, c])
            + w11 * np.float32(pixels[m, k11, c])
        )


@_inline
def _level(size, footprint):
    """Mip level of a footprint in tiles: the finer of the two levels, and the share of the coarser."""
    last = 0
    while (size >> last) > 1:
        last += 1
    level = min(max(math.log2(max(footprint * size, 1e-6)), 0.0), float(last))
    base = min(int(level), last - 1)
    return base, level - base


@_jit
def sample(pixels, m, size, u, v, footprint, out):
    """Trilinear lookup in mip pyramid m of values 0..255, scaled to 0..1; ``footprint`` in tiles."""
    for c in range(TEXTURE_CHANNELS):
        out[c] = 0.0
    base, part = _level(size, footprint)
    top, fine, coarse = size * size, size >> base, size >> (base + 1)
    if part < 1.0:
        _bilinear(pixels, m, (4 * top - 4 * fine * fine) // 3, fine, u, v, 1.0 - part, out)
    if part > 0.0:
        _bilinear(pixels, m, (4 * top - 4 * coarse * coarse) // 3, coarse, u, v, part, out)


@_inline
def _bilinear_noise(noise, offset, size, u, v):
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    a, b = x - fx, y - fy
    mask = size - 1
    i0, j0 = int(fx) & mask, int(fy) & mask
    i1, j1 = (i0 + 1) & mask, (j0 + 1) & mask
    low = (1 - a) * noise[offset + j0 * size + i0] + a * noise[offset + j0 * size + i1]
    high = (1 - a) * noise[offset + j1 * size + i0] + a * noise[offset + j1 * size + i1]
    return ((1 - b) * low + b * high) / 255.0


@_jit
def sample_noise(noise, size, u, v, footprint):
    """As `sample`, of the shared noise."""
    base, part = _level(size, footprint)
    top, fine, coarse = size * size, size >> base, size >> (base + 1)
    total = 0.0
    if part < 1.0:
        total += (1.0 - part) * _bilinear_noise(noise, (4 * top - 4 * fine * fine) // 3, fine, u, v)
    if part > 0.0:
        total += part * _bilinear_noise(noise, (4 * top - 4 * coarse * coarse) // 3, coarse, u, v)
    return total


@_jit
def sky_colour(sky, dx, dy, dz):
    """Bilinear lookup of the sky along a unit direction, linear colour."""
    rows, columns = sky.shape[0], sky.shape[1]
    x = (math.atan2(dy, dx) * (0.5 / math.pi) + 0.5) * columns - 0.5
    y = math.acos(min(max(dz, -1.0), 1.0)) / math.pi * rows - 0.5
    y = min(max(y, 0.0), rows - 1.0)
    fx = math.floor(x)
    a = x - fx
    j = min(int(y), rows - 2)
    b = y - j
    i0 = int(fx) % columns
    i1 = (i0 + 1) % columns
    w00, w10, w01, w11 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
    red = w00 * sky[j, i0, 0] + w10 * sky[j, i1, 0] + w01 * sky[j + 1, i0, 0] + w11 * sky[j + 1, i1, 0]
    green = w00 * sky[j, i0, 1] + w10 * sky[j, i1, 1] + w01 * sky[j + 1, i0, 1] + w11 * sky[j + 1, i1, 1]
    blue = w00 * sky[j, i0, 2] + w10 * sky[j, i1, 2] + w01 * sky[j + 1, i0, 2] + w11 * sky[j + 1, i1, 2]
    return (red / 255.0) ** 2, (green / 255.0) ** 2, (blue / 255.0) ** 2


# ---------------------------------------------------------------------------------------------
# Surface and light
# ---------------------------------------------------------------------------------------------


@_jit
def shade(S, size, stack, texel, i, x, y, z, dx, dy, dz, width, shadows):
    """Colour of primitive i at world point x, y, z seen along unit direction d, without mirror or fog.

    ``width`` is the pixel's width there in metres. Returns colour, shading normal, geometric normal,
    which lights are visible (as bits), and the share of the mirrored ray.
    """
    P = S.primitives
    px, py, pz = x - P[i, CENTRE], y - P[i, CENTRE + 1], z - P[i, CENTRE + 2]
    qx, qy, qz = _to_local(P, i, px, py, pz)
    lx, ly, lz = local_normal(S, i, qx, qy, qz)

    # Texture coordinates in metres: around the axis of a frustum, else along the axes that the normal
    # faces least. a, b are the local directions in which u and v grow.
    ax, ay, az, bx, by, bz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if int(P[i, KIND]) == FRUSTUM and abs(lz) < 0.99:
        angle = math.atan2(qy, qx)
        u, v = angle * P[i, HALF], qz
        ax, ay, bz = -math.sin(angle), math.cos(angle), 1.0
    elif abs(lz) >= abs(lx) and abs(lz) >= abs(ly):
        u, v = qx, qy
        ax, by = 1.0, 1.0
    elif abs(lx) >= abs(ly):
        u, v = qy, qz
        ay, bz = 1.0, 1.0
    else:
        u, v = qx, qz
        ax, bz = 1.0, 1.0
    c, s = P[i, UV], P[i, UV + 1]
    u, v = c * u - s * v + P[i, UV + 2], s * u + c * v + P[i, UV + 3]
    ax, ay, az, bx, by, bz = (
        c * ax - s * bx,
        c * ay - s * by,
        c * az - s * bz,
        s * ax + c * bx,
        s * ay + c * by,
        s * az + c * bz,
    )

    gx, gy, gz = _to_world(P, i, lx, ly, lz)
    facing = gx * dx + gy * dy + gz * dz
    side = 1.0
    if facing > 0:  # seen from inside: an open tube, the under-side of a sheet
        gx, gy, gz, side = -gx, -gy, -gz, -1.0
    cosine = max(abs(facing), 0.08)

    m = int(P[i, MATERIAL])
    M = S.materials
    scale = M[m, TEXTURE_SCALE]
    # Between the footprint's two widths: sharper than the long one, calmer than the short one.
    footprint = width * scale / math.sqrt(cosine)
    u, v = u * scale, v * scale
    grey = sample_noise(S.noise, size, u * MACRO_SCALE, v * MACRO_SCALE, footprint * MACRO_SCALE)
    vary = 1.0 + M[m, MACRO] * (2.0 * grey - 1.0)
    if M[m, DETAIL] > 0.0:
        grey = sample_noise(S.noise, size, u * DETAIL_SCALE, v * DETAIL_SCALE, footprint * DETAIL_SCALE)
        vary *= 1.0 + M[m, DETAIL] * (2.0 * grey - 1.0)
    sample(S.textures, m, size, u, v, footprint, texel)
    red = min(max(texel[0] * texel[0] * P[i, TINT] * vary, 0.0), 1.0)
    green = min(max(texel[1] * texel[1] * P[i, TINT + 1] * vary, 0.0), 1.0)
    blue = min(max(texel[2] * texel[2] * P[i, TINT + 2] * vary, 0.0), 1.0)
    mask = texel[5]

    su, sv = side * M[m, BUMP] * (2.0 * texel[3] - 1.0), side * M[m, BUMP] * (2.0 * texel[4] - 1.0)
    tx, ty, tz = su * ax + sv * bx, su * ay + sv * by, su * az + sv * bz
    wx, wy, wz = _to_world(P, i, tx, ty, tz)
    nx, ny, nz = gx - wx, gy - wy, gz - wz
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    nx, ny, nz = nx * inv, ny * inv, nz * inv

    air = S.air
    open_share = 1.0
    o = S.occluders
    for k in range(o.shape[0]):
        vx, vy, vz = o[k, 0] - x, o[k, 1] - y, o[k, 2] - z
        square = vx * vx + vy * vy + vz * vz
        if square < 16.0 * o[k, 3] * o[k, 3] and int(o[k, 4]) != i:
            up = (vx * gx + vy * gy + vz * gz) / math.sqrt(square + 1e-12)
            open_share *= 1.0 - min(
                0.9, air[OCCLUSION] * max(up, 0.0) * o[k, 3] * o[k, 3] / max(square, o[k, 3] * o[k, 3])
            )
    up = 0.5 + 0.5 * nz
    lr = (air[AMBIENT_DOWN] + (air[AMBIENT_UP] - air[AMBIENT_DOWN]) * up) * open_share
    lg = (air[AMBIENT_DOWN + 1] + (air[AMBIENT_UP + 1] - air[AMBIENT_DOWN + 1]) * up) * open_share
    lb = (air[AMBIENT_DOWN + 2] + (air[AMBIENT_UP + 2] - air[AMBIENT_DOWN + 2]) * up) * open_share

    sr, sg, sb = 0.0, 0.0, 0.0
    visible = 0
    lift = 1e-3 + 5e-4 * width
    sx, sy, sz = x + lift * gx, y + lift * gy, z + lift * gz
    light = S.lights
    for k in range(light.shape[0]):
        if light[k, 0] == SUN:
            vx, vy, vz, reach, fall = light[k, 1], light[k, 2], light[k, 3], 1e6, 1.0
        else:
            vx, vy, vz = light[k, 1] - x, light[k, 2] - y, light[k, 3] - z
            square = vx * vx + vy * vy + vz * vz
            reach = math.sqrt(square)
            vx, vy, vz = vx / reach, vy / reach, vz / reach
            fall = 1.0 / (square + light[k, 7] * light[k, 7])
        if vx * gx + vy * gy + vz * gz <= 0.0:
            continue
        lambert = vx * nx + vy * ny + vz * nz
        if lambert <= 0.0:  # a bump faces away: dark, but no shadow's edge that would ask for more rays
            visible |= 1 << k
            continue
        if shadows and trace(S, stack, sx, sy, sz, vx, vy, vz, 1e-4, reach - 2e-3, True)[1] >= 0:
            continue
        visible |= 1 << k
        power = lambert * fall
        lr, lg, lb = lr + power * light[k, 4], lg + power * light[k, 5], lb + power * light[k, 6]
        if M[m, SPECULAR] > 0.0:
            hx, hy, hz = vx - dx, vy - dy, vz - dz
            inv = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-30)
            shine = max((hx * nx + hy * ny + hz * nz) * inv, 0.0) ** M[m, GLOSS]
            shine *= M[m, SPECULAR] * mask * (M[m, GLOSS] + 8.0) * 0.04 * power
            sr, sg, sb = sr + shine * light[k, 4], sg + shine * light[k, 5], sb + shine * light[k, 6]
    glow = M[m, EMISSION]
    grazing = 1.0 - min(abs(dx * nx + dy * ny + dz * nz), 1.0)
    mirror = M[m, MIRROR] * mask * (0.25 + 0.75 * grazing**4)
    return (
        red * (lr + glow) + sr,
        green * (lg + glow) + sg,
        blue * (lb + glow) + sb,
        nx,
        ny,
        nz,
        gx,
        gy,
        gz,
        visible,
        mirror,
    )


@_inline
def _fogged(air, r, g, b, distance):
    keep = math.exp(-air[FOG_DENSITY] * distance)
    return (
        air[FOG] + (r - air[FOG]) * keep,
        air[FOG + 1] + (g - air[FOG + 1]) * keep,
        air[FOG + 2] + (b - air[FOG + 2]) * keep,
    )


@_jit
def radiance(S, size, stack, texel, ox, oy, oz, dx, dy, dz, pixel):
    """One camera ray, whole: (colour, t, primitive, geometric normal, light bits).

    d is not unit; t is in its units. ``pixel`` is a pixel's width one metre ahead.
    """
    t, i = trace(S, stack, ox, oy, oz, dx, dy, dz, 1e-4, INF, False)
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    ux, uy, uz = dx / length, dy / length, dz / length
    if i < 0:
        r, g, b = sky_colour(S.sky, ux, uy, uz)
        return r, g, b, INF, -1, 0.0, 0.0, 0.0, 0
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    r, g, b, nx, ny, nz, gx, gy, gz, visible, mirror = shade(
        S, size, stack, texel, i, x, y, z, ux, uy, uz, t * pixel, True
    )
    if mirror > 0.01:
        twice = 2.0 * (ux * nx + uy * ny + uz * nz)
        rx, ry, rz = ux - twice * nx, uy - twice * ny, uz - twice * nz
        inv = 1.0 / math.sqrt(rx * rx + ry * ry + rz * rz)
        rx, ry, rz = rx * inv, ry * inv, rz * inv
        s, j = trace(S, stack, x + 1e-3 * gx, y + 1e-3 * gy, z + 1e-3 * gz, rx, ry, rz, 1e-4, INF, False)
        if j < 0:
            mr, mg, mb = sky_colour(S.sky, rx, ry, rz)
        else:
            mr, mg, mb, _, _, _, _, _, _, _, _ = shade(
                S,
                size,
                stack,
                texel,
                j,
                x + s * rx,
                y + s * ry,
                z + s * rz,
                rx,
                ry,
                rz,
                (t * length + s) * pixel,
                False,
            )
        r, g, b = r + (mr - r) * mirror, g + (mg - g) * mirror, b + (mb - b) * mirror
    r, g, b = _fogged(S.air, r, g, b, t * length)
    return r, g, b, t, i, gx, gy, gz, visible


# ---------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------


@_jit
def render_rows(S, size, origin, to_world, first, last, rgb, depth, index, normal, visible):
    """One ray through every pixel centre of rows first..last of one view; ``to_world`` maps (x, y, 1)."""
    stack = np.empty(64, np.int64)
    texel = np.empty(TEXTURE_CHANNELS, np.float32)
    pixel = 0.5 * (
        math.sqrt(to_world[0, 0] ** 2 + to_world[1, 0] ** 2 + to_world[2, 0] ** 2)
        + math.sqrt(to_world[0, 1] ** 2 + to_world[1, 1] ** 2 + to_world[2, 1] ** 2)
    )
    for row in range(first, last):
        for column in range(index.shape[1]):
            x, y = column + 0.5, row + 0.5
            dx = to_world[0, 0] * x + to_world[0, 1] * y + to_world[0, 2]
            dy = to_world[1, 0] * x + to_world[1, 1] * y + to_world[1, 2]
            dz = to_world[2, 0] * x + to_world[2, 1] * y + to_world[2, 2]
            r, g, b, t, i, nx, ny, nz, bits = radiance(
                S, size, stack, texel, origin[0], origin[1], origin[2], dx, dy, dz, pixel
            )
            rgb[0, row, column], rgb[1, row, column], rgb[2, row, column] = r, g, b
            depth[row, column] = t if i >= 0 else 0.0
            index[row, column] = i
            visible[row, column] = bits
            normal[row, column, 0], normal[row, column, 1], normal[row, column, 2] = nx, ny, nz


@_jit
def smooth_rows(S, size, origin, to_world, first, last, rgb, index, normal, visible, smooth):
    """Average four more rays in pixels at an edge of shape, fold or shadow; others keep their colour."""
    stack = np.empty(64, np.int64)
    texel = np.empty(TEXTURE_CHANNELS, np.float32)
    height, width = index.shape
    pixel = 0.5 * (
        math.sqrt(to_world[0, 0] ** 2 + to_world[1, 0] ** 2 + to_world[2, 0] ** 2)
        + math.sqrt(to_world[0, 1] ** 2 + to_world[1, 1] ** 2 + to_world[2, 1] ** 2)
    )
    for row in range(first, last):
        for column in range(width):
            edge = False
            for k in range(4):
                i = row + (1 if k == 0 else (-1 if k == 1 else 0))
                j = column + (1 if k == 2 else (-1 if k == 3 else 0))
                if i < 0 or j < 0 or i >= height or j >= width:
                    continue
                if (
                    index[i, j] != index[row, column]
                    or visible[i, j] != visible[row, column]
                    or (
                        index[i, j] >= 0
                        and normal[i, j, 0] * normal[row, column, 0]
                        + normal[i, j, 1] * normal[row, column, 1]
                        + normal[i, j, 2] * normal[row, column, 2]
                        < EDGE_COSINE
                    )
                ):
                    edge = True
                    break
            if not edge:
                for c in range(3):
                    smooth[c, row, column] = rgb[c, row, column]
                continue
            red, green, blue = 0.0, 0.0, 0.0
            for k in range(4):  # a rotated grid: four different rows and columns
                x = column + 0.125 + 0.25 * k
                y = row + SUBROWS[k]
                dx = to_world[0, 0] * x + to_world[0, 1] * y + to_world[0, 2]
                dy = to_world[1, 0] * x + to_world[1, 1] * y + to_world[1, 2]
                dz = to_world[2, 0] * x + to_world[2, 1] * y + to_world[2, 2]
                r, g, b, _, _, _, _, _, _ = radiance(
                    S, size, stack, texel, origin[0], origin[1], origin[2], dx, dy, dz, pixel
                )
                # Bright highlights are bounded before averaging, or their edges stay jagged after clipping.
                red, green, blue = red + min(r, 4.0), green + min(g, 4.0), blue + min(b, 4.0)
            smooth[0, row, column] = 0.25 * red
            smooth[1, row, column] = 0.25 * green
            smooth[2, row, column] = 0.25 * blue

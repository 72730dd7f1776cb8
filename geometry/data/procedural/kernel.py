"""The compiled CPU renderer: one ray at a time, traversal, texture and light fused in one pass.

Scalars are float64, so that depth is exact to rounding; `torch_renderer` is its batched twin and the
two must be changed together (a test compares their images). Compiled without the global lock and without
a threading layer of its own: the caller splits rows among threads, which also works in forked workers.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geometry.data.procedural.scene import (
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
    TEXTURE_SCALE,
)

BOX, ELLIPSOID, FRUSTUM, POLYTOPE, TORUS, ROUND_BOX, BLOB, HEIGHT = range(8)
INF = np.inf
MARCH_STEPS = 80
SUBROWS = (0.375, 0.875, 0.125, 0.625)
EDGE_COSINE = 0.9  # neighbouring normals further apart than this make an edge

_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})


class Arrays(NamedTuple):
    """Fields of `Scene` as numpy arrays, in the form that compiled code takes."""

    kind: NDArray
    material: NDArray
    casts_shadow: NDArray
    centre: NDArray
    rotation: NDArray
    half_size: NDArray
    uv: NDArray
    tint: NDArray
    shape: NDArray
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


# ---------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------


@_jit
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
def distance_to(kind, half, shape, x, y, z):
    """Signed distance of the marched shapes, local metres."""
    if kind == TORUS:
        ring = math.sqrt(x * x + y * y) - shape[0]
        return math.sqrt(ring * ring + z * z) - shape[1]
    if kind == ROUND_BOX:
        radius = shape[0]
        a = abs(x) - half[0] + radius
        b = abs(y) - half[1] + radius
        c = abs(z) - half[2] + radius
        inside = min(max(a, max(b, c)), 0.0)
        a, b, c = max(a, 0.0), max(b, 0.0), max(c, 0.0)
        return math.sqrt(a * a + b * b + c * c) + inside - radius
    blend = shape[1]
    total = 1e9
    for k in range(int(shape[0])):
        dx, dy, dz = x - shape[2 + 4 * k], y - shape[3 + 4 * k], z - shape[4 + 4 * k]
        ball = math.sqrt(dx * dx + dy * dy + dz * dz) - shape[5 + 4 * k]
        gap = max(blend - abs(total - ball), 0.0) / blend
        total = min(total, ball) - gap * gap * blend * 0.25
    return total


@_jit
def intersect(S, i, ox, oy, oz, dx, dy, dz, tmin, tmax):
    """Nearest parameter in (tmin, tmax) at which the ray meets primitive i, from either side; else inf."""
    c, R, half, shape = S.centre[i], S.rotation[i], S.half_size[i], S.shape[i]
    px, py, pz = ox - c[0], oy - c[1], oz - c[2]
    # Start at the point nearest the primitive's centre: quadratics then keep their digits from afar.
    shift = -(px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
    px, py, pz = px + shift * dx, py + shift * dy, pz + shift * dz
    qx = R[0, 0] * px + R[0, 1] * py + R[0, 2] * pz
    qy = R[1, 0] * px + R[1, 1] * py + R[1, 2] * pz
    qz = R[2, 0] * px + R[2, 1] * py + R[2, 2] * pz
    ex = R[0, 0] * dx + R[0, 1] * dy + R[0, 2] * dz
    ey = R[1, 0] * dx + R[1, 1] * dy + R[1, 2] * dz
    ez = R[2, 0] * dx + R[2, 1] * dy + R[2, 2] * dz
    lo, hi = tmin - shift, tmax - shift
    kind = S.kind[i]

    if kind in (ELLIPSOID, FRUSTUM, POLYTOPE):
        qx, qy, qz = qx / half[0], qy / half[1], qz / half[2]
        ex, ey, ez = ex / half[0], ey / half[1], ez / half[2]

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
        mean, slope = 0.5 * (shape[0] + 1.0), 0.5 * (shape[0] - 1.0)
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
        if shape[1] < 0.5 and ez != 0.0:
            for cap in (-1.0, 1.0):
                t = (cap - qz) / ez
                x, y = qx + t * ex, qy + t * ey
                r = mean + slope * cap
                if lo < t < hi and t < best and x * x + y * y <= r * r:
                    best = t
        return best + shift

    enter, leave = -INF, INF
    if kind == POLYTOPE:
        for k in range(int(shape[0])):
            nx, ny, nz, d = shape[1 + 4 * k], shape[2 + 4 * k], shape[3 + 4 * k], shape[4 + 4 * k]
            speed = nx * ex + ny * ey + nz * ez
            gap = d - (nx * qx + ny * qy + nz * qz)
            if speed < 0:
                enter = max(enter, gap / speed)
            elif speed > 0:
                leave = min(leave, gap / speed)
            elif gap < 0:
                return INF
    else:
        for q, e, h in ((qx, ex, half[0]), (qy, ey, half[1]), (qz, ez, half[2])):
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
        which = int(shape[0])
        flat = math.sqrt(ex * ex + ey * ey)
        bound = abs(ez) + shape[1] * flat + 1e-12
        # Never less than a quarter of a cell on: peaks thinner than that do not exist in the map.
        least = 0.5 * min(half[0], half[1]) / (S.heights.shape[1] - 1) / (flat + abs(ez) + 1e-12)
        sx, sy = 0.5 / half[0], 0.5 / half[1]
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
    close = 2e-5 * max(half[0], max(half[1], half[2]))
    for _ in range(MARCH_STEPS):
        d = abs(distance_to(kind, half, shape, qx + t * ex, qy + t * ey, qz + t * ez))
        t += d / speed
        if t >= end:
            return INF
        if d < close:
            return t + shift if lo < t < hi else INF
    return INF


@_jit
def local_normal(S, i, x, y, z):
    """Unit outward normal at a surface point, both in the primitive's frame."""
    kind, half, shape = S.kind[i], S.half_size[i], S.shape[i]
    hx, hy, hz = half[0], half[1], half[2]
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
        mean, slope = 0.5 * (shape[0] + 1.0), 0.5 * (shape[0] - 1.0)
        ux, uy, uz = x / hx, y / hy, z / hz
        radius = mean + slope * uz
        side = abs(math.sqrt(ux * ux + uy * uy) - radius) * hx
        if shape[1] < 0.5 and (1.0 - abs(uz)) * hz < side:
            nz = math.copysign(1.0, z)
        else:
            nx, ny, nz = ux / hx, uy / hy, -slope * radius / hz
    elif kind == POLYTOPE:
        ux, uy, uz = x / hx, y / hy, z / hz
        most = -INF
        for k in range(int(shape[0])):
            a, b, c, d = shape[1 + 4 * k], shape[2 + 4 * k], shape[3 + 4 * k], shape[4 + 4 * k]
            value = a * ux + b * uy + c * uz - d
            if value > most:
                most = value
                nx, ny, nz = a / hx, b / hy, c / hz
    elif kind == HEIGHT:
        which = int(shape[0])
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
        nx = distance_to(kind, half, shape, x + step, y, z) - distance_to(kind, half, shape, x - step, y, z)
        ny = distance_to(kind, half, shape, x, y + step, z) - distance_to(kind, half, shape, x, y - step, z)
        nz = distance_to(kind, half, shape, x, y, z + step) - distance_to(kind, half, shape, x, y, z - step)
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    return nx * inv, ny * inv, nz * inv


@_jit
def inside(S, x, y, z):
    """Whether a world point lies in any solid, or under a sheet that it is above or below of."""
    for i in range(S.kind.shape[0]):
        c, R, half, shape = S.centre[i], S.rotation[i], S.half_size[i], S.shape[i]
        px, py, pz = x - c[0], y - c[1], z - c[2]
        qx = R[0, 0] * px + R[0, 1] * py + R[0, 2] * pz
        qy = R[1, 0] * px + R[1, 1] * py + R[1, 2] * pz
        qz = R[2, 0] * px + R[2, 1] * py + R[2, 2] * pz
        kind = S.kind[i]
        ux, uy, uz = qx / half[0], qy / half[1], qz / half[2]
        if abs(ux) > 1.0 or abs(uy) > 1.0 or uz > 1.0 or (uz < -1.0 and kind != HEIGHT):
            continue
        if kind == BOX:
            return True
        if kind == ELLIPSOID:
            if ux * ux + uy * uy + uz * uz < 1.0:
                return True
        elif kind == FRUSTUM:
            radius = 0.5 * (shape[0] + 1.0) + 0.5 * (shape[0] - 1.0) * uz
            if ux * ux + uy * uy < radius * radius:
                return True
        elif kind == POLYTOPE:
            most = -INF
            for k in range(int(shape[0])):
                most = max(
                    most,
                    shape[1 + 4 * k] * ux + shape[2 + 4 * k] * uy + shape[3 + 4 * k] * uz - shape[4 + 4 * k],
                )
            if most < 0.0:
                return True
        elif kind == HEIGHT:
            if qz < height_at(S.heights, int(shape[0]), 0.5 * ux + 0.5, 0.5 * uy + 0.5):
                return True
        elif distance_to(kind, half, shape, qx, qy, qz) < 0.0:
            return True
    return False


# ---------------------------------------------------------------------------------------------
# Traversal
# ---------------------------------------------------------------------------------------------


@_jit
def _enters(box, ox, oy, oz, ix, iy, iz, tmax):
    """Where the ray enters a node's box, or inf; reciprocal directions are given."""
    a, b = (box[0] - ox) * ix, (box[3] - ox) * ix
    enter, leave = min(a, b), max(a, b)
    a, b = (box[1] - oy) * iy, (box[4] - oy) * iy
    enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    a, b = (box[2] - oz) * iz, (box[5] - oz) * iz
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
    if _enters(S.node_box[0], ox, oy, oz, ix, iy, iz, best) < INF:
        stack[0] = 0
        depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        left = S.node_child[node, 0]
        if left < 0:
            i = -1 - left
            if shadow and not S.casts_shadow[i]:
                continue
            t = intersect(S, i, ox, oy, oz, dx, dy, dz, tmin, best)
            if t < best:
                best, hit = t, i
                if shadow:
                    return best, hit
            continue
        right = S.node_child[node, 1]
        a = _enters(S.node_box[left], ox, oy, oz, ix, iy, iz, best)
        b = _enters(S.node_box[right], ox, oy, oz, ix, iy, iz, best)
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


@_jit
def _bilinear(pixels, offset, size, u, v, weight, out):
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    a, b = x - fx, y - fy
    mask = size - 1
    i0, j0 = int(fx) & mask, int(fy) & mask
    i1, j1 = (i0 + 1) & mask, (j0 + 1) & mask
    w00, w10 = (1 - a) * (1 - b) * weight, a * (1 - b) * weight
    w01, w11 = (1 - a) * b * weight, a * b * weight
    k00, k10 = offset + j0 * size + i0, offset + j0 * size + i1
    k01, k11 = offset + j1 * size + i0, offset + j1 * size + i1
    for c in range(pixels.shape[1]):
        out[c] += w00 * pixels[k00, c] + w10 * pixels[k10, c] + w01 * pixels[k01, c] + w11 * pixels[k11, c]


@_jit
def sample(pixels, size, u, v, footprint, out):
    """Trilinear lookup in a mip pyramid of values 0..255, scaled to 0..1; ``footprint`` in tiles."""
    for c in range(pixels.shape[1]):
        out[c] = 0.0
    last = 0
    while (size >> last) > 1:
        last += 1
    level = math.log2(max(footprint * size, 1e-6))
    level = min(max(level, 0.0), float(last))
    base = min(int(level), last - 1)
    part = level - base
    top = size * size
    fine, coarse = size >> base, size >> (base + 1)
    if part < 1.0:
        _bilinear(pixels, (4 * top - 4 * fine * fine) // 3, fine, u, v, (1.0 - part) / 255.0, out)
    if part > 0.0:
        _bilinear(pixels, (4 * top - 4 * coarse * coarse) // 3, coarse, u, v, part / 255.0, out)


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
    c, R = S.centre[i], S.rotation[i]
    px, py, pz = x - c[0], y - c[1], z - c[2]
    qx = R[0, 0] * px + R[0, 1] * py + R[0, 2] * pz
    qy = R[1, 0] * px + R[1, 1] * py + R[1, 2] * pz
    qz = R[2, 0] * px + R[2, 1] * py + R[2, 2] * pz
    lx, ly, lz = local_normal(S, i, qx, qy, qz)

    # Texture coordinates in metres: around the axis of a frustum, else along the axes that the normal
    # faces least. a, b are the local directions in which u and v grow.
    ax, ay, az, bx, by, bz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if S.kind[i] == FRUSTUM and abs(lz) < 0.99:
        angle = math.atan2(qy, qx)
        u, v = angle * S.half_size[i, 0], qz
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
    turn = S.uv[i]
    u, v = turn[0] * u - turn[1] * v + turn[2], turn[1] * u + turn[0] * v + turn[3]
    ax, ay, az, bx, by, bz = (
        turn[0] * ax - turn[1] * bx,
        turn[0] * ay - turn[1] * by,
        turn[0] * az - turn[1] * bz,
        turn[1] * ax + turn[0] * bx,
        turn[1] * ay + turn[0] * by,
        turn[1] * az + turn[0] * bz,
    )

    gx = R[0, 0] * lx + R[1, 0] * ly + R[2, 0] * lz
    gy = R[0, 1] * lx + R[1, 1] * ly + R[2, 1] * lz
    gz = R[0, 2] * lx + R[1, 2] * ly + R[2, 2] * lz
    facing = gx * dx + gy * dy + gz * dz
    side = 1.0
    if facing > 0:  # seen from inside: an open tube, the under-side of a sheet
        gx, gy, gz, side = -gx, -gy, -gz, -1.0
    cosine = max(abs(facing), 0.08)

    m = S.material[i]
    M = S.materials[m]
    scale = M[TEXTURE_SCALE]
    # Between the footprint's two widths: sharper than the long one, calmer than the short one.
    footprint = width * scale / math.sqrt(cosine)
    u, v = u * scale, v * scale
    sample(S.noise, size, u * MACRO_SCALE, v * MACRO_SCALE, footprint * MACRO_SCALE, texel)
    vary = 1.0 + M[MACRO] * (2.0 * texel[0] - 1.0)
    if M[DETAIL] > 0.0:
        sample(S.noise, size, u * DETAIL_SCALE, v * DETAIL_SCALE, footprint * DETAIL_SCALE, texel)
        vary *= 1.0 + M[DETAIL] * (2.0 * texel[0] - 1.0)
    sample(S.textures[m], size, u, v, footprint, texel)
    tint = S.tint[i]
    red = min(max(texel[0] * texel[0] * tint[0] * vary, 0.0), 1.0)
    green = min(max(texel[1] * texel[1] * tint[1] * vary, 0.0), 1.0)
    blue = min(max(texel[2] * texel[2] * tint[2] * vary, 0.0), 1.0)
    mask = texel[5]

    su, sv = side * M[BUMP] * (2.0 * texel[3] - 1.0), side * M[BUMP] * (2.0 * texel[4] - 1.0)
    tx, ty, tz = su * ax + sv * bx, su * ay + sv * by, su * az + sv * bz
    nx = gx - (R[0, 0] * tx + R[1, 0] * ty + R[2, 0] * tz)
    ny = gy - (R[0, 1] * tx + R[1, 1] * ty + R[2, 1] * tz)
    nz = gz - (R[0, 2] * tx + R[1, 2] * ty + R[2, 2] * tz)
    inv = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
    nx, ny, nz = nx * inv, ny * inv, nz * inv

    air = S.air
    open_share = 1.0
    for k in range(S.occluders.shape[0]):
        o = S.occluders[k]
        vx, vy, vz = o[0] - x, o[1] - y, o[2] - z
        square = vx * vx + vy * vy + vz * vz
        if square < 16.0 * o[3] * o[3] and int(o[4]) != i:
            up = (vx * gx + vy * gy + vz * gz) / math.sqrt(square + 1e-12)
            open_share *= 1.0 - min(
                0.9, air[OCCLUSION] * max(up, 0.0) * o[3] * o[3] / max(square, o[3] * o[3])
            )
    up = 0.5 + 0.5 * nz
    lr = (air[AMBIENT_DOWN] + (air[AMBIENT_UP] - air[AMBIENT_DOWN]) * up) * open_share
    lg = (air[AMBIENT_DOWN + 1] + (air[AMBIENT_UP + 1] - air[AMBIENT_DOWN + 1]) * up) * open_share
    lb = (air[AMBIENT_DOWN + 2] + (air[AMBIENT_UP + 2] - air[AMBIENT_DOWN + 2]) * up) * open_share

    sr, sg, sb = 0.0, 0.0, 0.0
    visible = 0
    lift = 1e-3 + 5e-4 * width
    sx, sy, sz = x + lift * gx, y + lift * gy, z + lift * gz
    for k in range(S.lights.shape[0]):
        light = S.lights[k]
        if light[0] == SUN:
            vx, vy, vz, reach, fall = light[1], light[2], light[3], 1e6, 1.0
        else:
            vx, vy, vz = light[1] - x, light[2] - y, light[3] - z
            square = vx * vx + vy * vy + vz * vz
            reach = math.sqrt(square)
            vx, vy, vz = vx / reach, vy / reach, vz / reach
            fall = 1.0 / (square + light[7] * light[7])
        if vx * gx + vy * gy + vz * gz <= 0.0:
            continue
        lambert = vx * nx + vy * ny + vz * nz
        if lambert <= 0.0:
            continue
        if shadows and trace(S, stack, sx, sy, sz, vx, vy, vz, 1e-4, reach - 2e-3, True)[1] >= 0:
            continue
        visible |= 1 << k
        power = lambert * fall
        lr, lg, lb = lr + power * light[4], lg + power * light[5], lb + power * light[6]
        if M[SPECULAR] > 0.0:
            hx, hy, hz = vx - dx, vy - dy, vz - dz
            inv = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-30)
            shine = max((hx * nx + hy * ny + hz * nz) * inv, 0.0) ** M[GLOSS]
            shine *= M[SPECULAR] * mask * (M[GLOSS] + 8.0) * 0.04 * power
            sr, sg, sb = sr + shine * light[4], sg + shine * light[5], sb + shine * light[6]
    glow = M[EMISSION]
    grazing = 1.0 - min(abs(dx * nx + dy * ny + dz * nz), 1.0)
    mirror = M[MIRROR] * mask * (0.25 + 0.75 * grazing**4)
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


@_jit
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
    texel = np.empty(8)
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
    texel = np.empty(8)
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

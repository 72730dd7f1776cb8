"""Colour of one ray: surface, light, shadows, one mirrored ray, fog."""

import math

from geometry.worlds.kernel.arrays import (
    CENTRE,
    FRUSTUM,
    HALF,
    INF,
    KIND,
    MATERIAL,
    TINT,
    UV,
    compiled,
    inlined,
)
from geometry.worlds.kernel.lookup import sample, sample_noise, sky_colour
from geometry.worlds.kernel.shapes import local_normal, to_local, to_world
from geometry.worlds.kernel.traversal import trace
from geometry.worlds.world import (
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


@compiled
def shade(S, size, stack, texel, i, x, y, z, dx, dy, dz, width, shadows):
    """Colour of primitive i at world point x, y, z seen along unit direction d, without mirror or fog.

    ``width`` is the pixel's width there in metres. Returns colour, shading normal, geometric normal,
    which lights are visible (as bits), and the share of the mirrored ray.
    """
    P = S.primitives
    px, py, pz = x - P[i, CENTRE], y - P[i, CENTRE + 1], z - P[i, CENTRE + 2]
    qx, qy, qz = to_local(P, i, px, py, pz)
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

    gx, gy, gz = to_world(P, i, lx, ly, lz)
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
    wx, wy, wz = to_world(P, i, tx, ty, tz)
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
        if lambert <= 0.0:  # a bump faces away: dark, but no shadow's edge that would need more rays
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


@inlined
def _fogged(air, r, g, b, distance):
    keep = math.exp(-air[FOG_DENSITY] * distance)
    return (
        air[FOG] + (r - air[FOG]) * keep,
        air[FOG + 1] + (g - air[FOG + 1]) * keep,
        air[FOG + 2] + (b - air[FOG + 2]) * keep,
    )


@compiled
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

"""Colour of one ray: surface, light, shadows, one mirrored ray, fog."""

import math

from geometry.worlds import columns as at
from geometry.worlds.kernel.arrays import INF, compiled, inlined
from geometry.worlds.kernel.lookup import sample, sample_noise, sky_colour
from geometry.worlds.kernel.shapes import local_normal
from geometry.worlds.kernel.traversal import trace
from geometry.worlds.kernel.vectors import along, dot, less, row, scaled, to_local, to_world, unit
from geometry.worlds.world import DETAIL_SCALE, MACRO_SCALE, Shape


@inlined
def _texture_axes(P, i, q, n):
    """Texture coordinates in metres, and the local directions in which they grow.

    Around the axis of a frustum, else along the axes that the normal faces least.
    """
    ax, ay, az = abs(n[0]), abs(n[1]), abs(n[2])
    if int(P[i, at.KIND]) == Shape.FRUSTUM and az < 0.99:
        angle = math.atan2(q[1], q[0])
        u, v = angle * P[i, at.HALF], q[2]
        a, b = (-math.sin(angle), math.cos(angle), 0.0), (0.0, 0.0, 1.0)
    elif az >= ax and az >= ay:
        u, v, a, b = q[0], q[1], (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    elif ax >= ay:
        u, v, a, b = q[1], q[2], (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    else:
        u, v, a, b = q[0], q[2], (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    c, s = P[i, at.UV], P[i, at.UV + 1]
    u, v = c * u - s * v + P[i, at.UV + 2], s * u + c * v + P[i, at.UV + 3]
    turned = (c * a[0] - s * b[0], c * a[1] - s * b[1], c * a[2] - s * b[2])
    return u, v, turned, (s * a[0] + c * b[0], s * a[1] + c * b[1], s * a[2] + c * b[2])


@inlined
def _open_share(S, i, p, n):
    """Share of the sky's light that the occluders near a point let through."""
    o, strength = S.occluders, S.air[at.OCCLUSION]
    share = 1.0
    for k in range(o.shape[0]):
        v = less(row(o, k, 0), p)
        square, size = dot(v, v), o[k, 3] * o[k, 3]
        if square < 16.0 * o[k, 3] * o[k, 3] and int(o[k, 4]) != i:
            up = dot(v, n) / math.sqrt(square + 1e-12)
            share *= 1.0 - min(0.9, strength * max(up, 0.0) * o[k, 3] * o[k, 3] / max(square, size))
    return share


@compiled
def shade(S, size, stack, texel, i, p, d, width, shadows):
    """Colour of primitive i at world point p seen along unit direction d, without mirror or fog.

    ``width`` is the pixel's width there in metres. Returns colour, shading normal, geometric normal,
    which lights are visible (as bits), and the share of the mirrored ray.
    """
    P, M, air, light = S.primitives, S.materials, S.air, S.lights
    q = to_local(P, i, less(p, row(P, i, at.CENTRE)))
    local = local_normal(S, i, q)
    u, v, a, b = _texture_axes(P, i, q, local)

    g = to_world(P, i, local)
    facing = dot(g, d)
    side = 1.0
    if facing > 0:  # seen from inside: an open tube, the under-side of a sheet
        g, side = (-g[0], -g[1], -g[2]), -1.0
    cosine = max(abs(facing), 0.08)

    m = int(P[i, at.MATERIAL])
    scale = M[m, at.TEXTURE_SCALE]
    # Between the footprint's two widths: sharper than the long one, calmer than the short one.
    footprint = width * scale / math.sqrt(cosine)
    u, v = u * scale, v * scale
    grey = sample_noise(S.noise, size, u * MACRO_SCALE, v * MACRO_SCALE, footprint * MACRO_SCALE)
    vary = 1.0 + M[m, at.MACRO] * (2.0 * grey - 1.0)
    if M[m, at.DETAIL] > 0.0:
        grey = sample_noise(S.noise, size, u * DETAIL_SCALE, v * DETAIL_SCALE, footprint * DETAIL_SCALE)
        vary *= 1.0 + M[m, at.DETAIL] * (2.0 * grey - 1.0)
    sample(S.textures, m, size, u, v, footprint, texel)
    red = min(max(texel[0] * texel[0] * P[i, at.TINT] * vary, 0.0), 1.0)
    green = min(max(texel[1] * texel[1] * P[i, at.TINT + 1] * vary, 0.0), 1.0)
    blue = min(max(texel[2] * texel[2] * P[i, at.TINT + 2] * vary, 0.0), 1.0)
    mask = texel[5]

    su, sv = side * M[m, at.BUMP] * (2.0 * texel[3] - 1.0), side * M[m, at.BUMP] * (2.0 * texel[4] - 1.0)
    tilt = (su * a[0] + sv * b[0], su * a[1] + sv * b[1], su * a[2] + sv * b[2])
    n = unit(less(g, to_world(P, i, tilt)))

    open_share = _open_share(S, i, p, g)
    up = 0.5 + 0.5 * n[2]
    lr = (air[at.AMBIENT_DOWN] + (air[at.AMBIENT_UP] - air[at.AMBIENT_DOWN]) * up) * open_share
    lg = (air[at.AMBIENT_DOWN + 1] + (air[at.AMBIENT_UP + 1] - air[at.AMBIENT_DOWN + 1]) * up) * open_share
    lb = (air[at.AMBIENT_DOWN + 2] + (air[at.AMBIENT_UP + 2] - air[at.AMBIENT_DOWN + 2]) * up) * open_share

    sr, sg, sb = 0.0, 0.0, 0.0
    visible = 0
    lifted = along(p, 1e-3 + 5e-4 * width, g)
    for k in range(light.shape[0]):
        if light[k, 0] == at.SUN:
            to, reach, fall = row(light, k, 1), 1e6, 1.0
        else:
            to = less(row(light, k, 1), p)
            square = dot(to, to)
            reach = math.sqrt(square)
            to = (to[0] / reach, to[1] / reach, to[2] / reach)
            fall = 1.0 / (square + light[k, 7] * light[k, 7])
        if dot(to, g) <= 0.0:
            continue
        lambert = dot(to, n)
        if lambert <= 0.0:  # a bump faces away: dark, but no shadow's edge that would need more rays
            visible |= 1 << k
            continue
        if shadows and trace(S, stack, lifted, to, 1e-4, reach - 2e-3, True)[1] >= 0:
            continue
        visible |= 1 << k
        power = lambert * fall
        lr, lg, lb = along((lr, lg, lb), power, row(light, k, 4))
        if M[m, at.SPECULAR] > 0.0:
            h = less(to, d)
            inv = 1.0 / math.sqrt(dot(h, h) + 1e-30)
            shine = max(dot(h, n) * inv, 0.0) ** M[m, at.GLOSS]
            shine *= M[m, at.SPECULAR] * mask * (M[m, at.GLOSS] + 8.0) * 0.04 * power
            sr, sg, sb = along((sr, sg, sb), shine, row(light, k, 4))
    glow = M[m, at.EMISSION]
    grazing = 1.0 - min(abs(dot(d, n)), 1.0)
    mirror = M[m, at.MIRROR] * mask * (0.25 + 0.75 * grazing**4)
    colour = (red * (lr + glow) + sr, green * (lg + glow) + sg, blue * (lb + glow) + sb)
    return colour, n, g, visible, mirror


@inlined
def _mixed(a, b, share):
    return along(a, share, less(b, a))


@compiled
def radiance(S, size, stack, texel, o, d, pixel):
    """One camera ray, whole: (colour, t, primitive, geometric normal, light bits).

    d is not unit; t is in its units. ``pixel`` is a pixel's width one metre ahead.
    """
    t, i = trace(S, stack, o, d, 1e-4, INF, False)
    length = math.sqrt(dot(d, d))
    u = (d[0] / length, d[1] / length, d[2] / length)
    if i < 0:
        return sky_colour(S.sky, u), INF, -1, (0.0, 0.0, 0.0), 0
    p = along(o, t, d)
    colour, n, g, visible, mirror = shade(S, size, stack, texel, i, p, u, t * pixel, True)
    if mirror > 0.01:
        twice = 2.0 * dot(u, n)
        r = less(u, scaled(n, twice))
        r = scaled(r, 1.0 / math.sqrt(dot(r, r)))
        s, j = trace(S, stack, along(p, 1e-3, g), r, 1e-4, INF, False)
        if j < 0:
            seen = sky_colour(S.sky, r)
        else:
            reach = (t * length + s) * pixel
            seen, _, _, _, _ = shade(S, size, stack, texel, j, along(p, s, r), r, reach, False)
        colour = _mixed(colour, seen, mirror)
    keep = math.exp(-S.air[at.FOG_DENSITY] * (t * length))
    haze = (S.air[at.FOG], S.air[at.FOG + 1], S.air[at.FOG + 2])
    return _mixed(haze, colour, keep), t, i, g, visible

"""Filtered lookups in baked pictures: material textures, the shared noise, the sky."""

import math

import numpy as np

from geometry.worlds.kernel.arrays import compiled, inlined
from geometry.worlds.world import TEXTURE_CHANNELS


@inlined
def _levels(size, footprint):
    """Mip levels of a footprint in tiles: offset and side of the finer, of the coarser, and its share."""
    last = 0
    while (size >> last) > 1:
        last += 1
    level = min(max(math.log2(max(footprint * size, 1e-6)), 0.0), float(last))
    base = min(int(level), last - 1)
    top, fine, coarse = size * size, size >> base, size >> (base + 1)
    return (4 * top - 4 * fine * fine) // 3, fine, (4 * top - 4 * coarse * coarse) // 3, coarse, level - base


@inlined
def _around(offset, size, u, v):
    """Numbers of the four texels around a point of a level, and its place between them."""
    x, y = u * size - 0.5, v * size - 0.5
    fx, fy = math.floor(x), math.floor(y)
    mask = size - 1
    i0, j0 = int(fx) & mask, int(fy) & mask
    low, high = offset + j0 * size, offset + ((j0 + 1) & mask) * size
    i1 = (i0 + 1) & mask
    return low + i0, low + i1, high + i0, high + i1, x - fx, y - fy


@inlined
def _bilinear(pixels, m, offset, size, u, v, weight, out):
    """Add ``weight`` times one level's lookup to ``out``, all eight channels side by side."""
    k00, k10, k01, k11, a, b = _around(offset, size, u, v)
    a, b = np.float32(a), np.float32(b)
    one, scale = np.float32(1.0), np.float32(weight / 255.0)
    w00, w10 = (one - a) * (one - b) * scale, a * (one - b) * scale
    w01, w11 = (one - a) * b * scale, a * b * scale
    for c in range(TEXTURE_CHANNELS):
        out[c] += (
            w00 * np.float32(pixels[m, k00, c])
            + w10 * np.float32(pixels[m, k10, c])
            + w01 * np.float32(pixels[m, k01, c])
            + w11 * np.float32(pixels[m, k11, c])
        )


@compiled
def sample(pixels, m, size, u, v, footprint, out):
    """Trilinear lookup in mip pyramid m of values 0..255, scaled to 0..1; ``footprint`` in tiles."""
    for c in range(TEXTURE_CHANNELS):
        out[c] = 0.0
    at, fine, at_coarse, coarse, part = _levels(size, footprint)
    if part < 1.0:
        _bilinear(pixels, m, at, fine, u, v, 1.0 - part, out)
    if part > 0.0:
        _bilinear(pixels, m, at_coarse, coarse, u, v, part, out)


@inlined
def _bilinear_noise(noise, offset, size, u, v):
    k00, k10, k01, k11, a, b = _around(offset, size, u, v)
    low = (1 - a) * noise[k00] + a * noise[k10]
    high = (1 - a) * noise[k01] + a * noise[k11]
    return ((1 - b) * low + b * high) / 255.0


@compiled
def sample_noise(noise, size, u, v, footprint):
    """As `sample`, of the shared noise."""
    at, fine, at_coarse, coarse, part = _levels(size, footprint)
    total = 0.0
    if part < 1.0:
        total += (1.0 - part) * _bilinear_noise(noise, at, fine, u, v)
    if part > 0.0:
        total += part * _bilinear_noise(noise, at_coarse, coarse, u, v)
    return total


@compiled
def sky_colour(sky, d):
    """Bilinear lookup of the sky along a unit direction, linear colour."""
    rows, columns = sky.shape[0], sky.shape[1]
    x = (math.atan2(d[1], d[0]) * (0.5 / math.pi) + 0.5) * columns - 0.5
    y = math.acos(min(max(d[2], -1.0), 1.0)) / math.pi * rows - 0.5
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

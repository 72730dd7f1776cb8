"""Rows of pictures, and more rays at edges."""

import math

import numpy as np

from geometry.worlds.kernel.arrays import compiled, inlined
from geometry.worlds.kernel.shading import radiance
from geometry.worlds.kernel.vectors import dot
from geometry.worlds.world import TEXTURE_CHANNELS

SUBROWS = (0.375, 0.875, 0.125, 0.625)
EDGE_COSINE = 0.9  # neighbouring normals further apart than this make an edge


@inlined
def _direction(to_world, x, y):
    """World direction of a pixel."""
    return (
        to_world[0, 0] * x + to_world[0, 1] * y + to_world[0, 2],
        to_world[1, 0] * x + to_world[1, 1] * y + to_world[1, 2],
        to_world[2, 0] * x + to_world[2, 1] * y + to_world[2, 2],
    )


@inlined
def _pixel_width(to_world):
    """Of a pixel one metre ahead, mean over both sides."""
    return 0.5 * (
        math.sqrt(to_world[0, 0] ** 2 + to_world[1, 0] ** 2 + to_world[2, 0] ** 2)
        + math.sqrt(to_world[0, 1] ** 2 + to_world[1, 1] ** 2 + to_world[2, 1] ** 2)
    )


@inlined
def _differs(index, visible, normal, i, j, row, column):
    """Whether pixels (i, j) and (row, column) show another primitive, another light or another side."""
    if index[i, j] != index[row, column] or visible[i, j] != visible[row, column]:
        return True
    here = (normal[row, column, 0], normal[row, column, 1], normal[row, column, 2])
    there = (normal[i, j, 0], normal[i, j, 1], normal[i, j, 2])
    return index[i, j] >= 0 and dot(there, here) < EDGE_COSINE


@compiled
def render_rows(S, size, origin, to_world, first, last, rgb, depth, index, normal, visible):
    """One ray through every pixel centre of rows first..last of one view; ``to_world`` maps (x, y, 1)."""
    stack = np.empty(64, np.int64)
    texel = np.empty(TEXTURE_CHANNELS, np.float32)
    pixel = _pixel_width(to_world)
    centre = (origin[0], origin[1], origin[2])
    for row in range(first, last):
        for column in range(index.shape[1]):
            d = _direction(to_world, column + 0.5, row + 0.5)
            colour, t, i, n, bits = radiance(S, size, stack, texel, centre, d, pixel)
            rgb[0, row, column], rgb[1, row, column], rgb[2, row, column] = colour
            depth[row, column] = t if i >= 0 else 0.0
            index[row, column] = i
            visible[row, column] = bits
            normal[row, column, 0], normal[row, column, 1], normal[row, column, 2] = n


@compiled
def smooth_rows(S, size, origin, to_world, first, last, rgb, index, normal, visible, smooth):
    """Average four more rays in pixels at an edge of shape, fold or shadow; others keep their colour."""
    stack = np.empty(64, np.int64)
    texel = np.empty(TEXTURE_CHANNELS, np.float32)
    height, width = index.shape
    pixel = _pixel_width(to_world)
    centre = (origin[0], origin[1], origin[2])
    for row in range(first, last):
        for column in range(width):
            edge = False
            for i, j in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if 0 <= i < height and 0 <= j < width:
                    edge = edge or _differs(index, visible, normal, i, j, row, column)
            if not edge:
                for c in range(3):
                    smooth[c, row, column] = rgb[c, row, column]
                continue
            red, green, blue = 0.0, 0.0, 0.0
            for k in range(4):  # a rotated grid: four different rows and columns
                d = _direction(to_world, column + 0.125 + 0.25 * k, row + SUBROWS[k])
                (r, g, b), _, _, _, _ = radiance(S, size, stack, texel, centre, d, pixel)
                # Bright highlights are bounded before averaging, or their edges stay jagged after clipping.
                red, green, blue = red + min(r, 4.0), green + min(g, 4.0), blue + min(b, 4.0)
            smooth[0, row, column] = 0.25 * red
            smooth[1, row, column] = 0.25 * green
            smooth[2, row, column] = 0.25 * blue

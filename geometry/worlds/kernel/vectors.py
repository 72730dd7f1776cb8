"""Arithmetic of 3-vectors as tuples, which live in registers: a compiled function takes no small arrays."""

import math

from geometry.worlds import columns as at
from geometry.worlds.kernel.arrays import inlined


@inlined
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def less(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@inlined
def along(a, t, b):
    """a + t b."""
    return a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]


@inlined
def scaled(a, s):
    return a[0] * s, a[1] * s, a[2] * s


@inlined
def divided(a, b):
    """Entry by entry."""
    return a[0] / b[0], a[1] / b[1], a[2] / b[2]


@inlined
def unit(a):
    return scaled(a, 1.0 / math.sqrt(dot(a, a) + 1e-30))


@inlined
def row(table, i, k):
    """Three numbers of a row of a table, from column k on."""
    return table[i, k], table[i, k + 1], table[i, k + 2]


@inlined
def to_local(P, i, v):
    """Turn a world vector into primitive i's frame."""
    return (
        dot(row(P, i, at.ROTATION), v),
        dot(row(P, i, at.ROTATION + 3), v),
        dot(row(P, i, at.ROTATION + 6), v),
    )


@inlined
def to_world(P, i, v):
    """Turn a vector of primitive i's frame into the world's."""
    first, second, third = row(P, i, at.ROTATION), row(P, i, at.ROTATION + 3), row(P, i, at.ROTATION + 6)
    return (
        first[0] * v[0] + second[0] * v[1] + third[0] * v[2],
        first[1] * v[0] + second[1] * v[1] + third[1] * v[2],
        first[2] * v[0] + second[2] * v[1] + third[2] * v[2],
    )

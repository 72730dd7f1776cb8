"""Spherical harmonics of degree 0 to 3 as scalar code: colours, and their gradients.

The basis and its order are gsplat's (3DGS): real harmonics with the Condon-Shortley signs, colour offset by
0.5. Constants are sqrt of rational multiples of 1 / pi.
"""

import math

import numpy as np

from geometry.compiled import compiled, inlined

F = np.float32
ZERO, HALF, ONE, TWO, THREE, SIX = F(0), F(0.5), F(1), F(2), F(3), F(6)
A0 = F(0.28209479177387814)
A1 = F(0.48860251190292)
B0, B1, B2, B3 = F(1.092548430592079), F(0.9461746957575601), F(0.3153915652525201), F(0.5462742152960395)
C0, C1, C2 = F(0.5900435899266435), F(2.8906114426405538), F(0.4570457994644658)
C3, C4 = F(0.3731763325901154), F(1.445305721320277)
TINY_NORM = F(1e-12)


@inlined
def direction(x, y, z):
    """Unit vector and one over the length."""
    inverse = ONE / max(math.sqrt(x * x + y * y + z * z), TINY_NORM)
    return x * inverse, y * inverse, z * inverse, inverse


@compiled
def basis(k, x, y, z):
    """Basis function ``k`` at a unit vector and its gradient, treating x, y, z as independent."""
    if k == 0:
        return A0, ZERO, ZERO, ZERO
    if k == 1:
        return -A1 * y, ZERO, -A1, ZERO
    if k == 2:
        return A1 * z, ZERO, ZERO, A1
    if k == 3:
        return -A1 * x, -A1, ZERO, ZERO
    if k == 4:
        return B0 * x * y, B0 * y, B0 * x, ZERO
    if k == 5:
        return -B0 * y * z, ZERO, -B0 * z, -B0 * y
    if k == 6:
        return B1 * z * z - B2, ZERO, ZERO, TWO * B1 * z
    if k == 7:
        return -B0 * x * z, -B0 * z, ZERO, -B0 * x
    if k == 8:
        return B3 * (x * x - y * y), TWO * B3 * x, -TWO * B3 * y, ZERO
    if k == 9:
        return -C0 * y * (THREE * x * x - y * y), -SIX * C0 * x * y, -THREE * C0 * (x * x - y * y), ZERO
    if k == 10:
        return C1 * x * y * z, C1 * y * z, C1 * x * z, C1 * x * y
    if k == 11:
        return C2 * y * (ONE - F(5) * z * z), ZERO, C2 * (ONE - F(5) * z * z), -F(10) * C2 * y * z
    if k == 12:
        return C3 * z * (F(5) * z * z - THREE), ZERO, ZERO, C3 * (F(15) * z * z - THREE)
    if k == 13:
        return C2 * x * (ONE - F(5) * z * z), C2 * (ONE - F(5) * z * z), ZERO, -F(10) * C2 * x * z
    if k == 14:
        return C4 * z * (x * x - y * y), TWO * C4 * x * z, -TWO * C4 * y * z, C4 * (x * x - y * y)
    return -C0 * x * (x * x - THREE * y * y), -THREE * C0 * (x * x - y * y), SIX * C0 * x * y, ZERO


@inlined
def harmonic_color(sh, at, degree, x, y, z):
    """0.5 + sum of coefficients times basis, from the coefficients at ``sh[at:]``, seen along (x, y, z)."""
    red, green, blue = HALF + A0 * sh[at], HALF + A0 * sh[at + 1], HALF + A0 * sh[at + 2]
    if degree > 0:
        x, y, z, _ = direction(x, y, z)
        for k in range(1, (degree + 1) ** 2):
            value, _, _, _ = basis(k, x, y, z)
            red += value * sh[at + 3 * k]
            green += value * sh[at + 3 * k + 1]
            blue += value * sh[at + 3 * k + 2]
    return red, green, blue

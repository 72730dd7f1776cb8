"""Gaussians to the image plane: means, conics, extents and colours, one record each.

A Gaussian that cannot be seen (outside the depth range or the image, too faint, or not finite) gets a place
with slot -1 and no record.
"""

import math

import numpy as np

from geometry.compiled import compiled, inlined
from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.harmonics import harmonic_color
from nvs.rasterizer.cpu.lanes import element, float_bits
from nvs.rasterizer.settings import ALPHA_MIN, EXTENT_SIGMAS

F = np.float32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
LEAST_OPACITY, MOST_SIGMAS = F(ALPHA_MIN), F(EXTENT_SIGMAS)
LOG_LEAST_OPACITY = F(math.log2(ALPHA_MIN))
TINY_NORM = F(1e-12)  # torch.nn.functional.normalize divides by no less
# gsplat lets the linearised projection lean out of the image by this share of its size on either side.
MARGIN = F(0.15)
# Extents are rounded up by more than float32 can err, so that no pixel is lost.
EXTENT_FACTOR, EXTENT_SLACK = F(1.00001), F(1e-3)


@inlined
def local_point(means, camera, i):
    """Mean ``i`` in camera axes."""
    x, y, z = element(means, 3 * i), element(means, 3 * i + 1), element(means, 3 * i + 2)
    return (
        camera[0] * x + camera[1] * y + camera[2] * z + camera[9],
        camera[3] * x + camera[4] * y + camera[5] * z + camera[10],
        camera[6] * x + camera[7] * y + camera[8] * z + camera[11],
    )


@inlined
def lean(slope, focal, principal, side):
    """Slope x / z (or y / z) limited to gsplat's margin around the image, and whether it was inside."""
    limited = min(
        (side - principal) / focal + MARGIN * side / focal,
        max(-(principal / focal + MARGIN * side / focal), slope),
    )
    return limited, limited == slope


@inlined
def unit_quaternion(quats, i):
    """Quaternion ``i`` (wxyz) over its norm, and one over that norm; a zero quaternion stays zero."""
    w, x, y, z = (
        element(quats, 4 * i),
        element(quats, 4 * i + 1),
        element(quats, 4 * i + 2),
        element(quats, 4 * i + 3),
    )
    inverse = ONE / max(math.sqrt(w * w + x * x + y * y + z * z), TINY_NORM)
    return w * inverse, x * inverse, y * inverse, z * inverse, inverse


@inlined
def rotation(w, x, y, z):
    """Rows of the matrix of a unit quaternion."""
    return (
        ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y),
        TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x),
        TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y),
    )  # fmt: skip


@inlined
def to_camera(camera, x, y, z):
    """A world direction in camera axes."""
    return (
        camera[0] * x + camera[1] * y + camera[2] * z,
        camera[3] * x + camera[4] * y + camera[5] * z,
        camera[6] * x + camera[7] * y + camera[8] * z,
    )


@inlined
def covariance(p0, p1, p2, q0, q1, q2):
    """2 x 2 covariance (xx, xy, yy) of a projected ellipsoid from its axes' x and y, and its determinant.

    The determinant is the sum of squared minors (Cauchy-Binet): never negative, and exact where
    ``xx * yy - xy^2`` cancels, in long thin ellipses.
    """
    m0, m1, m2 = p1 * q2 - p2 * q1, p2 * q0 - p0 * q2, p0 * q1 - p1 * q0
    return (
        p0 * p0 + p1 * p1 + p2 * p2,
        p0 * q0 + p1 * q1 + p2 * q2,
        q0 * q0 + q1 * q1 + q2 * q2,
        m0 * m0 + m1 * m1 + m2 * m2,
    )


@inlined
def pixel_range(centre, extent, side):
    """First and last pixel whose centre is within ``extent``, clipped to the image; empty if last < first."""
    first = max(np.ceil(centre - extent - HALF), ZERO)
    last = min(np.floor(centre + extent - HALF), F(side - 1))
    if not first <= last:
        return 1, 0
    return int(first), int(last)


@compiled
def project(
    worker, workers,
    means, quats, scales, opacities, colors, degree, camera, height, width,
    near, far, eps2d, antialiased, chunk_shift,
    records, record_ints, places, histogram, chunk_entries,
):  # fmt: skip
    """Fill records and places of one view, and count entries per chunk and tile.

    Flat float32 inputs; ``colors`` holds K x 3 harmonics, or 3 numbers if ``degree`` is -1. Chunk p holds
    Gaussians p << chunk_shift and on; ``histogram`` is [chunks, tiles] and comes zeroed.
    """
    count = opacities.shape[0]
    chunks = chunk_entries.shape[0]
    tiles_x = (width + (1 << L.TILE_SHIFT) - 1) >> L.TILE_SHIFT
    stride = 3 * max(degree + 1, 1) ** 2
    fx, fy, cx, cy = camera[L.FX], camera[L.FY], camera[L.CX], camera[L.CY]
    w_side, h_side = F(width), F(height)
    for chunk in range(worker, chunks, workers):
        entries = 0
        for i in range(chunk << chunk_shift, min(count, (chunk + 1) << chunk_shift)):
            places[L.PLACE * i + L.PLACE_SLOT] = -1
            mx, my, mz = local_point(means, camera, i)
            if not (mz >= near and mz <= far):
                continue
            opacity = element(opacities, i)
            if not opacity >= LEAST_OPACITY:
                continue
            rz = ONE / mz
            ux, uy = mx * rz, my * rz
            px, py = fx * ux + cx, fy * uy + cy
            qw, qx, qy, qz, inverse = unit_quaternion(quats, i)
            r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation(qw, qx, qy, qz)
            s0, s1, s2 = element(scales, 3 * i), element(scales, 3 * i + 1), element(scales, 3 * i + 2)
            a0, b0, c0 = to_camera(camera, r00 * s0, r10 * s0, r20 * s0)
            a1, b1, c1 = to_camera(camera, r01 * s1, r11 * s1, r21 * s1)
            a2, b2, c2 = to_camera(camera, r02 * s2, r12 * s2, r22 * s2)
            tx, _ = lean(ux, fx, cx, w_side)
            ty, _ = lean(uy, fy, cy, h_side)
            jx, jy, jxz, jyz = fx * rz, fy * rz, -fx * tx * rz, -fy * ty * rz
            xx, xy, yy, det = covariance(
                jx * a0 + jxz * c0, jx * a1 + jxz * c1, jx * a2 + jxz * c2,
                jy * b0 + jyz * c0, jy * b1 + jyz * c1, jy * b2 + jyz * c2,
            )  # fmt: skip
            blurred = det + eps2d * (xx + yy) + eps2d * eps2d
            if not (blurred > ZERO and inverse > ZERO):
                continue
            if antialiased:
                opacity *= math.sqrt(det / blurred)
                if not opacity >= LEAST_OPACITY:
                    continue
            log_opacity = np.log2(opacity)
            sigmas = min(
                MOST_SIGMAS, math.sqrt(max(TWO / L.LOG2_E * (log_opacity - LOG_LEAST_OPACITY), ZERO))
            )
            reach = sigmas * EXTENT_FACTOR
            left, right = pixel_range(px, reach * math.sqrt(xx + eps2d) + EXTENT_SLACK, width)
            top, bottom = pixel_range(py, reach * math.sqrt(yy + eps2d) + EXTENT_SLACK, height)
            if right < left or bottom < top:
                continue
            scale = L.LOG2_E / blurred
            k_xx, k_xy, k_yy = HALF * scale * (yy + eps2d), -scale * xy, HALF * scale * (xx + eps2d)
            if degree < 0:
                red, green, blue = colors[3 * i], colors[3 * i + 1], colors[3 * i + 2]
            else:
                red, green, blue = harmonic_color(
                    colors, stride * i, degree,
                    means[3 * i] - camera[L.CENTRE],
                    means[3 * i + 1] - camera[L.CENTRE + 1],
                    means[3 * i + 2] - camera[L.CENTRE + 2],
                )  # fmt: skip
                red, green, blue = max(red, ZERO), max(green, ZERO), max(blue, ZERO)
            # One sum tells whether all are finite.
            if not abs(px + py + k_xx + k_xy + k_yy + log_opacity + red + green + blue) < np.inf:
                continue

            at = L.RECORD * i
            records[at + L.X], records[at + L.Y] = px, py
            records[at + L.XX], records[at + L.XY], records[at + L.YY] = k_xx, k_xy, k_yy
            records[at + L.LOG_OPACITY] = log_opacity
            record_ints[at + L.COLUMNS] = places[L.PLACE * i + L.PLACE_COLUMNS] = left | right << 16
            record_ints[at + L.ROWS] = places[L.PLACE * i + L.PLACE_ROWS] = top | bottom << 16
            records[at + L.FEATURES], records[at + L.FEATURES + 1] = red, green
            records[at + L.FEATURES + 2], records[at + L.FEATURES + 3] = blue, mz
            record_ints[at + L.SLOT] = places[L.PLACE * i + L.PLACE_SLOT] = entries
            places[L.PLACE * i + L.PLACE_DEPTH] = float_bits(mz)
            for ty_ in range(top >> L.TILE_SHIFT, (bottom >> L.TILE_SHIFT) + 1):
                for tx_ in range(left >> L.TILE_SHIFT, (right >> L.TILE_SHIFT) + 1):
                    histogram[chunk, ty_ * tiles_x + tx_] += 1
                    entries += 1
        chunk_entries[chunk] = entries

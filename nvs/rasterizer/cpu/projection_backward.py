"""Gradients of the projection: from sums per tile entry to Gaussians and the camera.

Everything the forward projection computed is computed again, which is cheaper than reading it back. Each
Gaussian adds up its own entries in a fixed order; camera gradients are added up per chunk and then over
chunks. So the result does not depend on the number of threads.
"""

import numpy as np

from geometry.compiled import compiled, inlined
from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.harmonics import A0, basis, direction, harmonic_color
from nvs.rasterizer.cpu.lanes import element, load, splat, store
from nvs.rasterizer.cpu.projection import (
    HALF,
    ONE,
    TINY_NORM,
    TWO,
    ZERO,
    covariance,
    lean,
    local_point,
    rotation,
    to_camera,
    unit_quaternion,
)

F = np.float32


@compiled
def add_entries(places, i, first_slot, entry_sums, touched, total):
    """Add up the sums of one Gaussian's entries into ``total``; returns whether there were any."""
    columns, rows = places[L.PLACE * i + L.PLACE_COLUMNS], places[L.PLACE * i + L.PLACE_ROWS]
    wide = (columns >> 16 >> L.TILE_SHIFT) - ((columns & 0xFFFF) >> L.TILE_SHIFT) + 1
    high = (rows >> 16 >> L.TILE_SHIFT) - ((rows & 0xFFFF) >> L.TILE_SHIFT) + 1
    start = first_slot + places[L.PLACE * i + L.PLACE_SLOT]
    found, added = False, splat(ZERO)
    for slot in range(start, start + wide * high):
        if touched[slot]:
            found = True
            added = added + load(entry_sums, L.SUMS * slot)
    store(total, 0, added)
    return found


@inlined
def to_world(camera, x, y, z):
    """Transpose of `to_camera`."""
    return (
        camera[0] * x + camera[3] * y + camera[6] * z,
        camera[1] * x + camera[4] * y + camera[7] * z,
        camera[2] * x + camera[5] * y + camera[8] * z,
    )


@inlined
def put(array, at, values, fresh):
    """Write gradients, or add them to those of an earlier view unless ``fresh``."""
    for k in range(len(values)):
        array[at + k] = values[k] if fresh else array[at + k] + values[k]


@compiled
def harmonics_backward(sh, at, degree, x, y, z, v_red, v_green, v_blue, v_sh, fresh):
    """Gradients of `harmonic_color`: writes (or adds, unless fresh) to ``v_sh``, returns d loss / d xyz."""
    if fresh:
        v_sh[at], v_sh[at + 1], v_sh[at + 2] = A0 * v_red, A0 * v_green, A0 * v_blue
    else:
        v_sh[at] += A0 * v_red
        v_sh[at + 1] += A0 * v_green
        v_sh[at + 2] += A0 * v_blue
    if degree == 0:
        return ZERO, ZERO, ZERO
    x, y, z, inverse = direction(x, y, z)
    v_x = v_y = v_z = ZERO
    for k in range(1, (degree + 1) ** 2):
        value, by_x, by_y, by_z = basis(k, x, y, z)
        j = at + 3 * k
        v_basis = v_red * sh[j] + v_green * sh[j + 1] + v_blue * sh[j + 2]
        v_x += v_basis * by_x
        v_y += v_basis * by_y
        v_z += v_basis * by_z
        put(v_sh, j, (value * v_red, value * v_green, value * v_blue), fresh)
    # The basis sees the unit vector: only the part across it counts.
    along = v_x * x + v_y * y + v_z * z
    return (v_x - along * x) * inverse, (v_y - along * y) * inverse, (v_z - along * z) * inverse


@compiled
def project_backward(
    worker, workers,
    means, quats, scales, opacities, colors, degree, camera, height, width,
    eps2d, antialiased, chunk_shift, chunk_slots, places, entry_sums, touched, fresh,
    v_means, v_quats, v_scales, v_opacities, v_colors, v_camera,
):  # fmt: skip
    """Gradients of `project`, in the layout of its inputs.

    The Gaussians' gradients are written if ``fresh`` and added to otherwise (a later view of the same
    scene). ``v_camera`` is [chunks, CAMERA] in float64; its sum over chunks is the camera's gradient.
    """
    count = opacities.shape[0]
    stride = 3 * max(degree + 1, 1) ** 2
    fx, fy, cx, cy = camera[L.FX], camera[L.FY], camera[L.CX], camera[L.CY]
    w_side, h_side = F(width), F(height)
    for chunk in range(worker, chunk_slots.shape[0], workers):
        total = np.zeros(L.SUMS, np.float32)
        v_cam = np.zeros(L.CAMERA, np.float64)
        for i in range(chunk << chunk_shift, min(count, (chunk + 1) << chunk_shift)):
            if places[L.PLACE * i + L.PLACE_SLOT] < 0 or not add_entries(
                places, i, chunk_slots[chunk], entry_sums, touched, total
            ):
                if fresh:
                    for k in range(3):
                        v_means[3 * i + k] = v_scales[3 * i + k] = ZERO
                    for k in range(4):
                        v_quats[4 * i + k] = ZERO
                    v_opacities[i] = ZERO
                    for k in range(stride):
                        v_colors[stride * i + k] = ZERO
                continue

            # The projection once more.
            mx, my, mz = local_point(means, camera, i)
            rz = ONE / mz
            ux, uy = mx * rz, my * rz
            qw, qx, qy, qz, inverse = unit_quaternion(quats, i)
            r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation(qw, qx, qy, qz)
            s0, s1, s2 = element(scales, 3 * i), element(scales, 3 * i + 1), element(scales, 3 * i + 2)
            a0, b0, c0 = to_camera(camera, r00 * s0, r10 * s0, r20 * s0)
            a1, b1, c1 = to_camera(camera, r01 * s1, r11 * s1, r21 * s1)
            a2, b2, c2 = to_camera(camera, r02 * s2, r12 * s2, r22 * s2)
            tx, x_inside = lean(ux, fx, cx, w_side)
            ty, y_inside = lean(uy, fy, cy, h_side)
            jx, jy, jxz, jyz = fx * rz, fy * rz, -fx * tx * rz, -fy * ty * rz
            p0, p1, p2 = jx * a0 + jxz * c0, jx * a1 + jxz * c1, jx * a2 + jxz * c2
            q0, q1, q2 = jy * b0 + jyz * c0, jy * b1 + jyz * c1, jy * b2 + jyz * c2
            xx, xy, yy, det = covariance(p0, p1, p2, q0, q1, q2)
            inverse_det = ONE / (det + eps2d * (xx + yy) + eps2d * eps2d)
            k_xx, k_xy, k_yy = (yy + eps2d) * inverse_det, -xy * inverse_det, (xx + eps2d) * inverse_det

            # From the sums over pixels to mean, conic and opacity. Alpha is opacity * exp(-sigma), so
            # d loss / d sigma = -v.
            v_px = -(k_xx * total[L.VX] + k_xy * total[L.VY])
            v_py = -(k_xy * total[L.VX] + k_yy * total[L.VY])
            v_kxx, v_kxy, v_kyy = -HALF * total[L.VXX], -HALF * total[L.VXY], -HALF * total[L.VYY]
            # A conic is an inverse: d = -K (d conic) K, with the off-diagonal entry counted once per side.
            m00, m01 = v_kxx * k_xx + v_kxy * k_xy, v_kxx * k_xy + v_kxy * k_yy
            m10, m11 = v_kxy * k_xx + v_kyy * k_xy, v_kxy * k_xy + v_kyy * k_yy
            v_xx, v_xy = -(k_xx * m00 + k_xy * m10), -(k_xx * m01 + k_xy * m11)
            v_yy = -(k_xy * m01 + k_yy * m11)
            v_opacity = total[L.V] / opacities[i]
            if antialiased:
                # total[L.V] / opacity is d loss / d (opacity * factor) * factor already.
                ratio = det * inverse_det
                if ratio > ZERO:
                    v_ratio = HALF * total[L.V] / ratio
                    v_det = v_ratio * inverse_det
                    v_xx += v_det * (yy - ratio * (yy + eps2d))
                    v_xy -= v_det * (xy - ratio * xy)
                    v_yy += v_det * (xx - ratio * (xx + eps2d))

            # To the axes of the projected ellipsoid, then to Jacobian and axes in camera space.
            v_p0, v_q0 = TWO * (v_xx * p0 + v_xy * q0), TWO * (v_xy * p0 + v_yy * q0)
            v_p1, v_q1 = TWO * (v_xx * p1 + v_xy * q1), TWO * (v_xy * p1 + v_yy * q1)
            v_p2, v_q2 = TWO * (v_xx * p2 + v_xy * q2), TWO * (v_xy * p2 + v_yy * q2)
            v_jx = v_p0 * a0 + v_p1 * a1 + v_p2 * a2
            v_jy = v_q0 * b0 + v_q1 * b1 + v_q2 * b2
            v_jxz = v_p0 * c0 + v_p1 * c1 + v_p2 * c2
            v_jyz = v_q0 * c0 + v_q1 * c1 + v_q2 * c2
            v_a0, v_b0, v_c0 = jx * v_p0, jy * v_q0, jxz * v_p0 + jyz * v_q0
            v_a1, v_b1, v_c1 = jx * v_p1, jy * v_q1, jxz * v_p1 + jyz * v_q1
            v_a2, v_b2, v_c2 = jx * v_p2, jy * v_q2, jxz * v_p2 + jyz * v_q2

            # Camera axes to world axes, world axes to rotation and scale.
            g00, g10, g20 = to_world(camera, v_a0, v_b0, v_c0)
            g01, g11, g21 = to_world(camera, v_a1, v_b1, v_c1)
            g02, g12, g22 = to_world(camera, v_a2, v_b2, v_c2)
            v_s0 = r00 * g00 + r10 * g10 + r20 * g20
            v_s1 = r01 * g01 + r11 * g11 + r21 * g21
            v_s2 = r02 * g02 + r12 * g12 + r22 * g22
            h00, h10, h20 = g00 * s0, g10 * s0, g20 * s0
            h01, h11, h21 = g01 * s1, g11 * s1, g21 * s1
            h02, h12, h22 = g02 * s2, g12 * s2, g22 * s2
            v_qw = TWO * (qx * (h21 - h12) + qy * (h02 - h20) + qz * (h10 - h01))
            v_qx = TWO * (qw * (h21 - h12) + qy * (h01 + h10) + qz * (h02 + h20) - TWO * qx * (h11 + h22))
            v_qy = TWO * (qw * (h02 - h20) + qx * (h01 + h10) + qz * (h12 + h21) - TWO * qy * (h00 + h22))
            v_qz = TWO * (qw * (h10 - h01) + qx * (h02 + h20) + qy * (h12 + h21) - TWO * qz * (h00 + h11))
            if inverse * TINY_NORM < ONE:  # the norm was not at its floor
                along = v_qw * qw + v_qx * qx + v_qy * qy + v_qz * qz
                v_qw, v_qx = v_qw - along * qw, v_qx - along * qx
                v_qy, v_qz = v_qy - along * qy, v_qz - along * qz

            # The mean in camera axes: through its pixel, the Jacobian and the depth channel.
            v_mx, v_my = jx * v_px, jy * v_py
            v_mz = total[L.VFEATURES + 3] - (jx * ux * v_px + jy * uy * v_py)
            v_mz -= (jx * v_jx + jy * v_jy + jxz * v_jxz + jyz * v_jyz) * rz
            v_fx, v_fy = ux * v_px + rz * v_jx, uy * v_py + rz * v_jy
            v_cx, v_cy = v_px, v_py
            if x_inside:
                v_mx -= jx * rz * v_jxz
                v_mz += jx * ux * rz * v_jxz
                v_fx -= ux * rz * v_jxz
            else:
                v_cx += rz * v_jxz
            if y_inside:
                v_my -= jy * rz * v_jyz
                v_mz += jy * uy * rz * v_jyz
                v_fy -= uy * rz * v_jyz
            else:
                v_cy += rz * v_jyz
            wx, wy, wz = to_world(camera, v_mx, v_my, v_mz)

            # Colours.
            v_red, v_green, v_blue = total[L.VFEATURES], total[L.VFEATURES + 1], total[L.VFEATURES + 2]
            if degree < 0:
                put(v_colors, 3 * i, (v_red, v_green, v_blue), fresh)
            else:
                dx = means[3 * i] - camera[L.CENTRE]
                dy = means[3 * i + 1] - camera[L.CENTRE + 1]
                dz = means[3 * i + 2] - camera[L.CENTRE + 2]
                red, green, blue = harmonic_color(colors, stride * i, degree, dx, dy, dz)
                # Colours below 0 were clamped.
                v_red = v_red if red >= ZERO else ZERO
                v_green = v_green if green >= ZERO else ZERO
                v_blue = v_blue if blue >= ZERO else ZERO
                dx, dy, dz = harmonics_backward(
                    colors, stride * i, degree, dx, dy, dz, v_red, v_green, v_blue, v_colors, fresh
                )
                wx, wy, wz = wx + dx, wy + dy, wz + dz
                put(v_cam, L.CENTRE, (-dx, -dy, -dz), False)

            put(v_means, 3 * i, (wx, wy, wz), fresh)
            put(v_scales, 3 * i, (v_s0, v_s1, v_s2), fresh)
            put(v_quats, 4 * i, (v_qw * inverse, v_qx * inverse, v_qy * inverse, v_qz * inverse), fresh)
            put(v_opacities, i, (v_opacity,), fresh)

            # The camera's rotation turns the mean and the three axes.
            x, y, z = means[3 * i], means[3 * i + 1], means[3 * i + 2]
            o0x, o0y, o0z = r00 * s0, r10 * s0, r20 * s0
            o1x, o1y, o1z = r01 * s1, r11 * s1, r21 * s1
            o2x, o2y, o2z = r02 * s2, r12 * s2, r22 * s2
            v_cam[0] += v_mx * x + v_a0 * o0x + v_a1 * o1x + v_a2 * o2x
            v_cam[1] += v_mx * y + v_a0 * o0y + v_a1 * o1y + v_a2 * o2y
            v_cam[2] += v_mx * z + v_a0 * o0z + v_a1 * o1z + v_a2 * o2z
            v_cam[3] += v_my * x + v_b0 * o0x + v_b1 * o1x + v_b2 * o2x
            v_cam[4] += v_my * y + v_b0 * o0y + v_b1 * o1y + v_b2 * o2y
            v_cam[5] += v_my * z + v_b0 * o0z + v_b1 * o1z + v_b2 * o2z
            v_cam[6] += v_mz * x + v_c0 * o0x + v_c1 * o1x + v_c2 * o2x
            v_cam[7] += v_mz * y + v_c0 * o0y + v_c1 * o1y + v_c2 * o2y
            v_cam[8] += v_mz * z + v_c0 * o0z + v_c1 * o1z + v_c2 * o2z
            put(v_cam, 9, (v_mx, v_my, v_mz, v_fx, v_fy, v_cx, v_cy), False)
        for k in range(L.CAMERA):
            v_camera[chunk, k] = v_cam[k]

"""Quaternion products against products of matrices."""

import torch
from torch.testing import assert_close

from geometry.ops.rotations import matrix_from_quat_xyzw, quat_xyzw_from_matrix, turn_quat_xyzw


def test_turning_a_quaternion_is_turning_its_matrix(generator):
    rotation = matrix_from_quat_xyzw(torch.randn(5, 1, 4, generator=generator, dtype=torch.float64))
    quat = 3 * torch.randn(5, 7, 4, generator=generator, dtype=torch.float64)  # of any norm
    assert_close(
        turn_quat_xyzw(rotation, quat), quat_xyzw_from_matrix(rotation @ matrix_from_quat_xyzw(quat))
    )

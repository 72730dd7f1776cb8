"""A camera as nine numbers: translation, quaternion, fields of view."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import fov_from_intrinsics, intrinsics_from_fov
from geometry.ops.rotations import matrix_from_quat_xyzw, quat_xyzw_from_matrix
from geometry.views import Cameras


def encode_cameras(cameras: Cameras, image_size: tuple[int, int]) -> Float[Tensor, "B V 9"]:
    """v = (t, q, f): camera centre, quaternion xyzw of cam_to_world, fields of view (h, w) in radians.

    The principal point is not part of it.

    Source: DA3 (arXiv:2511.10647), camera head; order and fields of view as released.
    """
    cam_to_world = se3.invert(cameras.extrinsics)
    quat = quat_xyzw_from_matrix(cam_to_world[..., :3, :3])
    fov = fov_from_intrinsics(cameras.intrinsics, image_size)
    return torch.cat((cam_to_world[..., :3, 3], quat, fov), dim=-1)


def decode_cameras(encoding: Float[Tensor, "B V 9"], image_size: tuple[int, int]) -> Cameras:
    """Cameras of `encode_cameras`; the quaternion may have any norm, the principal point is central."""
    translation, quat, fov = encoding.split((3, 4, 2), dim=-1)
    cam_to_world = se3.from_rotation_translation(matrix_from_quat_xyzw(quat), translation)
    return Cameras(extrinsics=se3.invert(cam_to_world), intrinsics=intrinsics_from_fov(fov, image_size))

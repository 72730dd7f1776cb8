"""Cameras carried to another world: turned, or by the similarity between cameras known in both."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.align import umeyama
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.views import Cameras


def turn_cameras(cameras: Cameras, rotation: Float[Tensor, "B 3 3"]) -> Cameras:
    """The same cameras in a world turned by ``rotation``."""
    turn = se3.from_rotation_translation(rotation.mT, torch.zeros_like(rotation[..., 0]))
    return replace(cameras, extrinsics=cameras.extrinsics @ turn[:, None])


def small_motion(move: Float[Tensor, "*V 6"], distance: float | Tensor) -> Float[Tensor, "*V 4 4"]:
    """A rotation in radians, and a shift in units of ``distance``, as free numbers of an optimisation."""
    # Half the rotation vector is the quaternion's vector part, to first order.
    quat = torch.cat((0.5 * move[..., :3], torch.ones_like(move[..., :1])), dim=-1)
    return se3.from_rotation_translation(matrix_from_quat_xyzw(quat), move[..., 3:] * distance)


def carry_cameras(cameras: Cameras, context: Cameras, context_there: Cameras) -> Cameras:
    """Cameras in another world, given context cameras in both: by the similarity of the context's centres.

    Args:
        cameras: in the world of ``context``; their intrinsics stay.
        context, context_there: the same views in either world, at least two at different places.

    Raises:
        DegenerateAlignment: all context centres of one world coincide.
    """
    carry = umeyama(se3.centres(context.extrinsics), se3.centres(context_there.extrinsics), min_rank=1)
    return replace(cameras, extrinsics=carry.extrinsics(cameras.extrinsics))

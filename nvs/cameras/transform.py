"""Cameras carried to another world: turned, or by the similarity between cameras known in both."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.align import umeyama
from geometry.views import Cameras


def turn_cameras(cameras: Cameras, rotation: Float[Tensor, "B 3 3"]) -> Cameras:
    """The same cameras in a world turned by ``rotation``."""
    turn = se3.from_rotation_translation(rotation.mT, torch.zeros_like(rotation[..., 0]))
    return replace(cameras, extrinsics=cameras.extrinsics @ turn[:, None])


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

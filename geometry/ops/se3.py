"""Rigid transforms as [4, 4] matrices."""

import torch
from jaxtyping import Float
from torch import Tensor


def homogeneous(pose: Float[Tensor, "*batch rows 4"]) -> Float[Tensor, "*batch 4 4"]:
    """[3, 4] poses padded to [4, 4]; [4, 4] ones unchanged."""
    if pose.shape[-2] == 4:
        return pose
    last = pose.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*pose.shape[:-2], 1, 4)
    return torch.cat((pose, last), dim=-2)


def from_rotation_translation(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    return homogeneous(torch.cat((rotation, translation[..., None]), dim=-1))


def invert(pose: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of rigid transforms, by transposing the rotation: exact where a matrix inverse rounds."""
    rotation, translation = pose[..., :3, :3], pose[..., :3, 3]
    inverse = rotation.mT
    return from_rotation_translation(inverse, -(inverse @ translation[..., None])[..., 0])


def relative(
    pose: Float[Tensor, "*batch V 4 4"], reference: Float[Tensor, "*batch 4 4"]
) -> Float[Tensor, "*batch V 4 4"]:
    """World-to-camera poses in the world of the reference camera: the reference becomes the identity."""
    return pose @ invert(reference)[..., None, :, :]


def centres(extrinsics: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 3"]:
    """Camera centres in the world of world-to-camera poses."""
    return -(extrinsics[..., :3, :3].mT @ extrinsics[..., :3, 3:])[..., 0]


def transform(
    pose: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch n 3"]
) -> Float[Tensor, "*batch n 3"]:
    """Points carried by a rigid transform."""
    return points @ pose[..., :3, :3].mT + pose[..., None, :3, 3]

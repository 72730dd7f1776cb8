"""Gaussians carried to a world of other heading, scale and origin, and their shapes in the world."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from geometry.ops.align import Similarity
from geometry.ops.rotations import matrix_from_quat_xyzw, turn_quat_xyzw, wxyz_from_xyzw, xyzw_from_wxyz
from nvs.gaussians.record import Gaussians
from nvs.gaussians.spherical_harmonics import rotate_sh


def turn_gaussians(gaussians: Gaussians, rotation: Float[Tensor, "B 3 3"]) -> Gaussians:
    """The same Gaussians in a world turned by ``rotation``: means, orientations and colours alike."""
    return replace(
        gaussians,
        means=gaussians.means @ rotation.mT,
        quats=wxyz_from_xyzw(turn_quat_xyzw(rotation[:, None], xyzw_from_wxyz(gaussians.quats))),
        sh=rotate_sh(gaussians.sh, rotation[:, None]),
    )


def transform_gaussians(gaussians: Gaussians, similarity: Similarity) -> Gaussians:
    """Gaussians after every world point went where ``similarity`` (one per scene) takes it."""
    turned = turn_gaussians(gaussians, similarity.rotation.to(gaussians.means))
    return replace(
        turned,
        means=similarity.points(gaussians.means),
        scales=gaussians.scales * similarity.scale.to(gaussians.scales)[:, None, None],
    )


def covariances(gaussians: Gaussians) -> Float[Tensor, "N 3 3"]:
    """Of one scene's Gaussians, in the world."""
    axes = matrix_from_quat_xyzw(xyzw_from_wxyz(gaussians.quats[0])) * gaussians.scales[0, :, None, :]
    return axes @ axes.mT

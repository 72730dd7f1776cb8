"""Carrying Gaussians and cameras to a world of other scale, heading and origin."""

from dataclasses import replace

from geometry.ops import se3
from geometry.ops.align import Similarity, umeyama
from geometry.views import Cameras
from nvs.cameras.up_axis import turn_gaussians
from nvs.gaussians import Gaussians


def transform_gaussians(gaussians: Gaussians, similarity: Similarity) -> Gaussians:
    """Gaussians after every world point went where ``similarity`` (one per scene) takes it."""
    turned = turn_gaussians(gaussians, similarity.rotation.to(gaussians.means))
    return replace(
        turned,
        means=similarity.points(gaussians.means),
        scales=gaussians.scales * similarity.scale.to(gaussians.scales)[:, None, None],
    )


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

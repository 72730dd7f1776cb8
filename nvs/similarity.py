"""Carrying Gaussians to a world of other scale, heading and origin."""

from dataclasses import replace

from geometry.ops.align import Similarity
from nvs.gaussians import Gaussians
from nvs.world import turn_gaussians


def transform_gaussians(gaussians: Gaussians, similarity: Similarity) -> Gaussians:
    """Gaussians after every world point went where ``similarity`` (one per scene) takes it."""
    turned = turn_gaussians(gaussians, similarity.rotation.to(gaussians.means))
    return replace(
        turned,
        means=similarity.points(gaussians.means),
        scales=gaussians.scales * similarity.scale.to(gaussians.scales)[:, None, None],
    )

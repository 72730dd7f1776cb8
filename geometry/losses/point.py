"""L_P: world points."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import Components, l1, mean_of_views
from geometry.ops.rays import lift, resize_rays


def point_loss(
    depth: Float[Tensor, "B V H W"],
    rays: Float[Tensor, "B V h w 6"],
    target: Float[Tensor, "B V H W 3"],
    valid: Bool[Tensor, "B V H W"],
    *,
    components: Components = "mean",
) -> Float[Tensor, ""]:
    """L_P = 1/Z sum m |D^ d^ + t^ - P|_1: depth and rays must agree with each other, not only with truth.

    The rays are brought to the depth's grid.

    Source: DA3 (arXiv:2511.10647) section 3.
    """
    points = lift(depth, resize_rays(rays, (depth.shape[-2], depth.shape[-1])))
    return point_map_loss(points, target, valid, components=components)


def point_map_loss(
    points: Float[Tensor, "B V H W 3"],
    target: Float[Tensor, "B V H W 3"],
    valid: Bool[Tensor, "B V H W"],
    *,
    components: Components = "mean",
) -> Float[Tensor, ""]:
    """1/Z sum m |P^ - P|_1 of directly predicted points: the ablation's point-map target."""
    target = torch.where(valid[..., None], target, 0.0)
    return mean_of_views(l1(points, target, components), valid)

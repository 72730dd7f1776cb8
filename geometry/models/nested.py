"""The nested model: any-view geometry brought to metres by the metric model."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from geometry.models.da3 import DepthAnything3, MonocularDepth, normalise_images
from geometry.ops.align import fit_scale
from geometry.ops.metric import metric_depth
from geometry.ops.sky import SKY_THRESHOLD, quantile
from geometry.prediction import Geometry, scaled
from geometry.views import Views

MAX_SKY_DEPTH_M = 200.0


class NestedDepthAnything3(nn.Module):
    """Runs the any-view and the metric model on the same images and aligns the first to the second.

    Source: the released DA3 network (nested models).
    """

    def __init__(self, any_view: DepthAnything3, metric: MonocularDepth) -> None:
        super().__init__()
        self.any_view = any_view
        self.metric = metric

    def forward(
        self,
        views: Views,
        *,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = True,
    ) -> Geometry:
        """Geometry in metres; ``scale_factor`` says what the any-view output was multiplied by."""
        images = normalise_images(views.images)
        features = self.any_view.encode(images, views.cameras, conditioned=views.known, reference=reference)
        geometry = self.any_view.decode(features, chunk=chunk, rays=rays)
        return align_to_metric(geometry, self.metric.decode(self.metric.encode(images), chunk=chunk))


def align_to_metric(geometry: Geometry, metric: Geometry) -> Geometry:
    """Any-view geometry scaled to the metric model's depth; depth, ray origins and cameras together.

    One scale for all views, from pixels that are not sky and at least of median confidence. Sky is
    put at the 0.99 quantile of the rest, at most 200 m away.

    Raises:
        ValueError: 10 or fewer pixels are not sky.
    """
    depth, conf, cameras = geometry.depth, geometry.depth_conf, geometry.cameras
    target = metric_depth(metric.depth, cameras.intrinsics)
    ground = metric.sky < SKY_THRESHOLD
    if ground.sum() <= 10:
        raise ValueError("metric alignment needs more than 10 pixels that are not sky")
    confident = conf >= quantile(conf[ground], 0.5)
    usable = confident & ground & (target > 0.01) & (depth > 0.001)
    scale = fit_scale(depth.flatten(), target.flatten(), usable.flatten()).to(depth)

    geometry = scaled(geometry, scale)
    depth = geometry.depth
    far = quantile(depth[ground], 0.99).clamp(max=MAX_SKY_DEPTH_M)
    depth = torch.where(ground, depth, far)
    conf = torch.where(ground, conf, torch.ones_like(conf))
    return replace(geometry, depth=depth, depth_conf=conf, sky=metric.sky, scale_factor=scale)

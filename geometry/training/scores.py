"""Scores of one sample: depth with cameras given, cameras without."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.losses.objective import depth_carrying
from geometry.metrics.depth import Alignment, depth_metrics
from geometry.metrics.pose import area_under_accuracy, pose_errors_deg
from geometry.models.da3 import DepthAnything3
from geometry.ops.ray_pose import cameras_from_rays
from geometry.ops.scale import in_reference_frame
from geometry.predict import condition
from geometry.prediction import Geometry
from geometry.training.previews import any_view_previews, depth_preview
from geometry.views import Cameras, Example, Truth, Views

PoseSource = Literal["decoder", "rays"]


def score_any_view(
    model: DepthAnything3,
    batch: Example,
    *,
    pose_source: PoseSource = "decoder",
    rays: bool = True,
    pictures: bool = True,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics and previews of samples.

    ``absrel`` and ``delta1`` are of depth with the cameras given, after one scale for all views of a sample;
    ``absrel_unposed`` the same without cameras; those of `pose_scores` of the cameras found without any
    given, by the decoder or from rays as ``pose_source`` says.

    Args:
        rays: also score the cameras from rays, as ``auc30_rays``; only where the rays were trained.
        pictures: also draw previews.
    """
    # An autocast around this call is for the network; cameras and metrics need float32.
    exact = torch.autocast(batch.views.images.device.type, enabled=False)
    with exact:
        posed_views = Views(images=batch.views.images, cameras=condition(batch.truth.cameras)[0])
    posed = model(posed_views, rays=False)
    V = batch.views.images.shape[1]
    # View 0 is the reference here, so that a score does not depend on how well one is chosen.
    first = torch.zeros(len(batch.views.images), dtype=torch.long, device=batch.views.images.device)
    wants_rays = rays or pose_source == "rays"
    free = model(replace(batch.views, cameras=None), reference=first, rays=wants_rays)

    with exact:
        metrics = scene_depth_scores(posed, batch.truth)
        metrics["absrel_unposed"] = scene_depth_scores(free, batch.truth)["absrel"]
        found: dict[str, Cameras] = {"decoder": free.cameras}
        if wants_rays:
            found["rays"] = cameras_from_rays(free.rays, free.ray_conf, batch.views.image_size).cameras
        if pose_source not in found:
            raise InputError(f"pose_source must be decoder or rays, got {pose_source!r}")
        if V > 1:
            right = batch.truth.cameras.extrinsics
            metrics |= pose_scores(found[pose_source].extrinsics, right)
            if wants_rays:
                metrics["auc30_rays"] = pose_scores(found["rays"].extrinsics, right)["auc30"]
        if not pictures:
            return metrics, {}
        truth = replace(batch.truth, cameras=in_reference_frame(batch.truth.cameras, first))
        return metrics, any_view_previews(batch.views.images, truth, posed, found)


def scene_depth_scores(geometry: Geometry, truth: Truth) -> dict[str, float]:
    """absrel and delta1 after one least-squares scale for all views of a sample, averaged over samples."""
    # One tall image for each sample: the alignment is per image.
    depth, target, valid = (x.flatten(1, 2) for x in (geometry.depth, truth.depth, depth_carrying(truth)))
    scores = depth_metrics(depth.float(), target, valid, alignment="scale")
    return {"absrel": float(scores["abs_rel"].nanmean()), "delta1": float(scores["delta1"].nanmean())}


def pose_scores(found: Float[Tensor, "B V 4 4"], truth: Float[Tensor, "B V 4 4"]) -> dict[str, float]:
    """Scores of relative poses, 0..1, averaged over the pairs of views of each sample and over samples.

    ``auc3`` and ``auc30`` as `geometry.metrics.pose.pose_auc`; ``rra30`` and ``rta30`` are the shares of
    pairs whose relative rotation, and whose relative translation's line, is off by less than 30 degrees: they
    show which of the two a low AUC is due to.

    Args:
        found: world-to-camera, any world and scale.
    """
    rotation, translation = pose_errors_deg(found, truth)
    error = torch.maximum(rotation, translation)
    return {f"auc{at}": float(area_under_accuracy(error, at)) for at in (3, 30)} | {
        "rra30": float((rotation < 30).double().mean()),
        "rta30": float((translation < 30).double().mean()),
    }


def score_monocular(
    geometry: Geometry, batch: Example, *, alignment: Alignment, pictures: bool = True
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """absrel and delta1 of each view after ``alignment``, and the accuracy of the sky mask where labelled."""
    valid = depth_carrying(batch.truth)
    scores = depth_metrics(geometry.depth.float(), batch.truth.depth, valid, alignment=alignment)
    metrics = {"absrel": float(scores["abs_rel"].nanmean()), "delta1": float(scores["delta1"].nanmean())}
    if batch.truth.sky is not None:
        metrics["sky_accuracy"] = float(((geometry.sky > 0.5) == batch.truth.sky).float().mean())
    if not pictures:
        return metrics, {}
    return metrics, {"depth": depth_preview(batch.views.images[0], batch.truth, geometry.depth)}

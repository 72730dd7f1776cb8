"""Scene normalisation shared by targets and losses: one frame, one scale."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import unproject
from geometry.views import Cameras, Truth


def in_reference_frame(cameras: Cameras, reference: Int[Tensor, " B"]) -> Cameras:
    """The same cameras in the world of one view per scene, whose pose becomes the identity."""
    index = torch.arange(len(reference), device=reference.device)
    extrinsics = se3.relative(cameras.extrinsics, cameras.extrinsics[index, reference])
    # Exactly the identity, not up to rounding: the network is told that this view is the world.
    extrinsics = extrinsics.clone()
    extrinsics[index, reference] = torch.eye(4).to(extrinsics)
    return Cameras(extrinsics=extrinsics, intrinsics=cameras.intrinsics)


def scene_scale(truth: Truth) -> Float[Tensor, " B"]:
    """Mean l2 norm of the valid world points of all views: how far the scene lies from its origin.

    A scene without any valid depth has the mean distance of its camera centres, and 1 if they are all at the
    origin: its cameras still train. It depends on the world's origin, so choose the frame first.

    Source: DA3 (arXiv:2511.10647), ground-truth normalisation; the cases without depth are ours.
    """
    points = unproject(torch.where(truth.valid, truth.depth, 0.0), truth.cameras)
    # Coordinates lie far apart in memory: torch's norm over such a dimension takes 200 times as long.
    distance = sum(x * x for x in points.unbind(-1)).sqrt()  # type: ignore[union-attr]
    count = truth.valid.sum((1, 2, 3))
    by_points = (distance * truth.valid).sum((1, 2, 3)) / count.clamp(min=1)
    by_centres = se3.centres(truth.cameras.extrinsics).norm(dim=-1).mean(-1)
    scale = torch.where(count > 0, by_points, by_centres)
    return torch.where(scale > 1e-8, scale, 1.0)


def rescale_cameras(cameras: Cameras, factor: Float[Tensor, " B"]) -> Cameras:
    """Cameras of the scene made ``factor`` times larger."""
    extrinsics = cameras.extrinsics.clone()
    extrinsics[..., :3, 3] *= factor[:, None, None]
    return Cameras(extrinsics=extrinsics, intrinsics=cameras.intrinsics)


def normalise_truth(truth: Truth, reference: Int[Tensor, " B"]) -> tuple[Truth, Float[Tensor, " B"]]:
    """Ground truth as the losses want it, and the scale that all its lengths were divided by.

    Depth, centres and hence ray origins and world points are in the reference view's frame, divided by
    `scene_scale`. A similarity of the world leaves the result unchanged. Where not valid, depth is 0. Lengths
    are no longer metres, and ``metric`` says so.

    Args:
        reference: index of the view whose camera becomes the world; the network must be told the same.

    Source: DA3 (arXiv:2511.10647) section 3. How training chose the reference is not stated.
    """
    local = replace(truth, cameras=in_reference_frame(truth.cameras, reference))
    scale = scene_scale(local)
    depth = torch.where(truth.valid, truth.depth, 0.0) / scale[:, None, None, None]
    return (
        replace(
            local,
            cameras=rescale_cameras(local.cameras, 1 / scale),
            depth=depth,
            metric=torch.zeros_like(truth.metric),
        ),
        scale,
    )

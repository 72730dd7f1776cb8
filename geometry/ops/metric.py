"""Metric scale: canonical-focal depth to metres, and an any-view prediction brought to it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CANONICAL_FOCAL_PX = 300.0


def metric_depth(
    output: Float[Tensor, "B V H W"], intrinsics: Float[Tensor, "B V 3 3"]
) -> Float[Tensor, "B V H W"]:
    """Depth in metres from the metric model's output: output * focal_px / 300.

    Args:
        intrinsics: of the processed images; the focal length is the mean of fx and fy.

    Source: DA3 (arXiv:2511.10647) section 4.4.
    """
    focal_px = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return output * (focal_px / CANONICAL_FOCAL_PX)[..., None, None]


def scale_between(
    depth: Float[Tensor, "*views"], target: Float[Tensor, "*views"], mask: Bool[Tensor, "*views"]
) -> Float[Tensor, ""]:
    """The one scale s that brings ``s * depth`` nearest ``target`` (least squares over the mask)."""
    depth, target = depth[mask].double(), target[mask].double()
    return (depth @ target / (depth @ depth).clamp(min=1e-12)).to(torch.float32)

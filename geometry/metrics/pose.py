"""Relative pose errors and their area under the curve."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.rotations import angle_between

THRESHOLDS_DEG = (3, 5, 15, 30)


def pose_auc(
    pred: Float[Tensor, "V 4 4"],
    truth: Float[Tensor, "V 4 4"],
    thresholds_deg: Sequence[int] = THRESHOLDS_DEG,
) -> dict[int, float]:
    """Area under the curve of pairs whose rotation and translation errors lie below an angle, by threshold.

    The error of a pair is the larger of the two. The curve is sampled at whole degrees 1 .. threshold, so
    AUC@3 is the mean of three numbers.

    Args:
        pred: world-to-camera, any world and scale.

    Raises:
        ValueError: fewer than two views, or not as many predicted as true ones.

    Source: DA3's released evaluation (``auc03`` to ``auc30``).
    """
    if pred.shape != truth.shape or len(pred) < 2:
        raise ValueError(
            f"pose_auc: expected two stacks of as many poses (two or more), got {len(pred)} and {len(truth)}"
        )
    error = torch.maximum(*pose_errors_deg(pred, truth))
    return {tau: float(area_under_accuracy(error, tau)) for tau in thresholds_deg}


def pose_errors_deg(
    pred: Float[Tensor, "*batch V 4 4"], truth: Float[Tensor, "*batch V 4 4"]
) -> tuple[Float[Tensor, "*batch P"], Float[Tensor, "*batch P"]]:
    """Errors of relative rotation and of relative translation, degrees, float64, of all pairs i < j in order.

    The second is the angle between lines, 0..90: its sign is ignored, and a translation of zero, which has no
    direction, counts as 90. Both as in the released evaluation.

    Args:
        pred: world-to-camera, any world and scale.
    """
    p, t = _relative(pred), _relative(truth)
    rotation = angle_between(p[..., :3, :3], t[..., :3, :3])
    p, t = p[..., :3, 3], t[..., :3, 3]
    # From sine and cosine: arccos alone loses half the digits near 0.
    translation = torch.atan2(torch.linalg.cross(p, t).norm(dim=-1), (p * t).sum(-1).abs())
    still = torch.minimum(p.norm(dim=-1), t.norm(dim=-1)) < 1e-12
    return rotation.rad2deg(), torch.where(still, 90.0, translation.rad2deg())


def area_under_accuracy(errors_deg: Float[Tensor, "*shape"], threshold_deg: int) -> Float[Tensor, ""]:
    """Mean over whole degrees 1 .. threshold of the share of errors below them, 0..1."""
    degrees = torch.arange(1, threshold_deg + 1, device=errors_deg.device)
    return (errors_deg.flatten()[:, None] < degrees).double().mean()


def _relative(extrinsics: Float[Tensor, "*batch V 4 4"]) -> Float[Tensor, "*batch P 4 4"]:
    """E_i^-1 E_j from the first view on, as released; E_j E_i^-1 has other rotation errors."""
    extrinsics = se3.relative(extrinsics.double(), extrinsics[..., 0, :, :].double())
    i, j = torch.triu_indices(extrinsics.shape[-3], extrinsics.shape[-3], offset=1)
    return se3.invert(extrinsics[..., i, :, :]) @ extrinsics[..., j, :, :]

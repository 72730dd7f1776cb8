"""Relative pose errors and their area under the curve."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops import se3
from geometry.ops.rotations import angle_between

THRESHOLDS_DEG = (3, 5, 15, 30)


def view_pairs(count: int) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Indices i < j of all pairs of views."""
    i, j = torch.triu_indices(count, count, offset=1)
    return i, j


def relative_rotation_errors_deg(
    pred: Float[Tensor, "*batch V 4 4"], truth: Float[Tensor, "*batch V 4 4"]
) -> Float[Tensor, "*batch P"]:
    """Angle between predicted and true relative rotation, degrees, of all pairs of `view_pairs`.

    Args:
        pred: world-to-camera; the world need not be that of ``truth``.
    """
    p, t = _relative(pred), _relative(truth)
    return angle_between(p[..., :3, :3], t[..., :3, :3]).rad2deg()


def relative_translation_errors_deg(
    pred: Float[Tensor, "*batch V 4 4"], truth: Float[Tensor, "*batch V 4 4"]
) -> Float[Tensor, "*batch P"]:
    """Angle between the lines of predicted and true relative translation, 0..90 degrees, of all pairs.

    The sign is ignored: 180 degrees count as 0. A translation of zero has no direction and counts as 90.
    Both as in the released evaluation.
    """
    p, t = _relative(pred)[..., :3, 3], _relative(truth)[..., :3, 3]
    # From sine and cosine: arccos alone loses half the digits near 0.
    sine, cosine = torch.linalg.cross(p, t).norm(dim=-1), (p * t).sum(-1).abs()
    still = torch.minimum(p.norm(dim=-1), t.norm(dim=-1)) < 1e-12
    return torch.where(still, 90.0, torch.atan2(sine, cosine).rad2deg())


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
    """Errors of relative rotation and of relative translation as `pose_auc` takes them, degrees, float64.

    Args:
        pred: world-to-camera, any world and scale.
    """
    # As released, both start at the first view: the relative poses depend on the world's frame.
    pred, truth = (se3.relative(x.double(), x[..., 0, :, :].double()) for x in (pred, truth))
    return relative_rotation_errors_deg(pred, truth), relative_translation_errors_deg(pred, truth)


def area_under_accuracy(errors_deg: Float[Tensor, "*shape"], threshold_deg: int) -> Float[Tensor, ""]:
    """Mean over whole degrees 1 .. threshold of the share of errors below them, 0..1."""
    degrees = torch.arange(1, threshold_deg + 1, device=errors_deg.device)
    return (errors_deg.flatten()[:, None] < degrees).double().mean()


def _relative(extrinsics: Float[Tensor, "*batch V 4 4"]) -> Float[Tensor, "*batch P 4 4"]:
    """E_i^-1 E_j of world-to-camera matrices, as the released evaluation forms it.

    Not E_j E_i^-1, the pose of camera j in camera i: rotation errors differ between the two.
    """
    i, j = view_pairs(extrinsics.shape[-3])
    return se3.invert(extrinsics[..., i, :, :]) @ extrinsics[..., j, :, :]

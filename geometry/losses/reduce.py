"""Reductions that all losses share."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Components = Literal["mean", "sum"]


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """1/Z sum m * values, with Z the number of true entries; 0 with zero gradients where there are none.

    Entries outside the mask may be infinite or NaN: neither they nor their gradients get through, provided
    that the operation before has a finite derivative there. Losses therefore put harmless numbers into
    masked inputs first.
    """
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def mean_of_views(values: Float[Tensor, "*views H W"], mask: Bool[Tensor, "*views H W"]) -> Float[Tensor, ""]:
    """1/Z sum m * values in each view, the mean of a sample's views that have any, the mean over samples.

    So a view of few measured pixels counts as a dense one does, which is the paper's 1/Z, and a batch has the
    same mean however it is cut into equal parts: a sample without any counts as 0. Of two axes before H and W
    the last is a sample's views; one alone is of samples. What is masked out gets through as little as in
    `masked_mean`.
    """
    count = mask.sum((-1, -2))
    of_views = torch.where(mask, values, 0.0).sum((-1, -2)) / count.clamp(min=1)
    if of_views.ndim > 1:
        of_views = of_views.sum(-1) / (count > 0).sum(-1).clamp(min=1)
    return of_views.mean()


def l1(
    prediction: Float[Tensor, "*shape n"], target: Float[Tensor, "*shape n"], components: Components
) -> Float[Tensor, "*shape"]:
    """Absolute differences of vectors, one number per vector.

    The paper's norm is the sum over components. The default of all losses here is their mean: only then do
    a depth (one number), a ray (six) and a camera (nine) weigh alike at equal weights, which the paper uses.
    """
    difference = (prediction - target).abs()
    return difference.mean(-1) if components == "mean" else difference.sum(-1)


def confidence_weighted(
    error: Float[Tensor, "*shape"], conf: Float[Tensor, "*shape"], lambda_c: float
) -> Float[Tensor, "*shape"]:
    """C * error - lambda_c log C: a predicted confidence C lowers the loss where errors are small."""
    return conf * error - lambda_c * conf.log()

"""The robust optimal alignment against trying every pair of points."""

import pytest
import torch
from torch.testing import assert_close

from geometry.ops.truncated_l1 import truncated_l1_scale_shift


def objective(scale, shift, x, y, w, truncation):
    return (w * (scale[..., None] * x + shift[..., None] - y).abs()).clamp(max=truncation).sum(-1)


def brute_force(x, y, w, truncation):
    """Lowest objective of all lines of positive slope through two points of positive weight."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1], 1)
    scale = (y[:, i] - y[:, j]) / (x[:, i] - x[:, j])
    shift = y[:, i] - scale * x[:, i]
    cost = objective(scale, shift, x[:, None], y[:, None], w[:, None], truncation)
    allowed = (scale > 0) & (w[:, i] > 0) & (w[:, j] > 0)
    return torch.where(allowed, cost, torch.inf).min(dim=1).values


def spoiled_lines(generator, rows, points):
    x = 0.5 + 3 * torch.rand(rows, points, generator=generator, dtype=torch.float64)
    y = 2 * x + 0.3 + 0.2 * torch.randn(rows, points, generator=generator, dtype=torch.float64)
    bad = torch.rand(rows, points, generator=generator) < 0.4
    y = torch.where(bad, 10 * torch.rand(rows, points, generator=generator, dtype=torch.float64), y)
    w = 1 / y.abs().clamp(min=0.1)
    return x, y, torch.where(torch.rand(rows, points, generator=generator) < 0.2, 0.0, w)


@pytest.mark.parametrize("truncation", [0.1, 0.3, 1.0])
def test_every_point_as_anchor_is_the_global_minimum(generator, truncation):
    x, y, w = spoiled_lines(generator, 48, 24)
    found = objective(*truncated_l1_scale_shift(x, y, w, truncation=truncation), x, y, w, truncation)
    assert_close(found, brute_force(x, y, w, truncation), atol=1e-9, rtol=1e-9)


def test_few_anchors_rarely_end_above_the_minimum(generator):
    x, y, w = spoiled_lines(generator, 64, 40)
    fit = truncated_l1_scale_shift(x, y, w, truncation=1.0, anchors=8, generator=generator)
    ratio = objective(*fit, x, y, w, 1.0) / brute_force(x, y, w, 1.0)
    assert ratio.min() > 1 - 1e-9
    assert (ratio < 1 + 1e-9).float().mean() >= 0.95
    assert ratio.max() < 1.02


def test_by_hand():
    # Four points on y = 2x + 1 and one far off.
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]])
    y = torch.tensor([[1.0, 3.0, 5.0, 7.0, 100.0]])
    scale, shift = truncated_l1_scale_shift(x, y, torch.ones_like(x), truncation=1.0)
    assert (scale.item(), shift.item()) == (2.0, 1.0)


def test_rows_without_an_answer_give_zero():
    x = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    y = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])  # constant, falling, no weight
    w = torch.tensor([[1.0] * 3, [1.0] * 3, [0.0] * 3])
    for anchors in (None, 2):
        scale, shift = truncated_l1_scale_shift(
            x, y, w, anchors=anchors, generator=torch.Generator().manual_seed(0)
        )
        assert scale.tolist() == [0.0, 0.0, 0.0]
        assert shift.tolist() == [0.0, 0.0, 0.0]

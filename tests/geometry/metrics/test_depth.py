import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.metrics.depth import align_depth, depth_metrics


def test_hand_solved():
    truth = torch.tensor([[2.0, 4.0], [1.0, 0.0]])  # the last is not measured
    pred = torch.tensor([[2.2, 3.0], [1.3, 9.0]])
    ours = depth_metrics(pred, truth)
    assert float(ours["abs_rel"]) == pytest.approx((0.1 + 0.25 + 0.3) / 3)
    assert float(ours["sq_rel"]) == pytest.approx((0.02 + 0.25 + 0.09) / 3)
    assert float(ours["delta1"]) == pytest.approx(1 / 3)  # 4 / 3 and 1.3 are above 1.25


def test_valid_mask_and_infinite_values_leave_pixels_out():
    truth = torch.tensor([[1.0, 1.0, math.inf, math.nan]])
    pred = torch.tensor([[1.0, 5.0, 1.0, 1.0]])
    valid = torch.tensor([[True, False, True, True]])
    assert float(depth_metrics(pred, truth, valid)["abs_rel"]) == 0.0


@pytest.mark.parametrize("alignment", ["median", "scale", "scale_shift"])
def test_alignment_undoes_what_it_names(alignment, generator):
    truth = 1 + torch.rand(2, 3, 6, 8, generator=generator, dtype=torch.float64)
    factor = torch.tensor([0.2, 3.0, 7.0], dtype=torch.float64)[:, None, None]
    pred = truth * factor + (0.5 if alignment == "scale_shift" else 0.0)
    truth[..., 0, :] = 0  # not measured
    pred[..., 1, :] = math.nan
    metrics = depth_metrics(pred, truth, alignment=alignment)
    for name, wanted in (("abs_rel", 0.0), ("sq_rel", 0.0), ("delta1", 1.0)):
        assert_close(metrics[name], torch.full((2, 3), wanted, dtype=torch.float64))


def test_scale_shift_is_the_least_squares_line(generator):
    pred, truth = (1 + torch.rand(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    slope, offset = np.polyfit(pred.flatten().numpy(), truth.flatten().numpy(), 1)
    assert_close(align_depth(pred, truth, alignment="scale_shift"), slope * pred + offset)


def test_no_valid_pixel_is_nan_and_does_not_spoil_the_others():
    truth = torch.ones(2, 4, 4)
    truth[1] = 0
    for alignment in ("none", "median", "scale", "scale_shift"):
        metrics = depth_metrics(torch.full((2, 4, 4), 1.1), truth, alignment=alignment)
        assert metrics["abs_rel"][0].isfinite()
        assert metrics["abs_rel"][1].isnan()


def test_negative_predictions_miss():
    ours = depth_metrics(torch.full((2, 2), -1.0), torch.ones(2, 2))
    assert float(ours["delta1"]) == 0.0
    assert float(ours["abs_rel"]) == 2.0


def test_an_unknown_alignment_is_refused():
    with pytest.raises((ValueError, TypeError), match="scale_shift"):
        align_depth(torch.ones(2, 2), torch.ones(2, 2), alignment="affine")

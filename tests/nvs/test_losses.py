"""Losses of the Gaussian head: by hand, invariance, missing labels."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nvs.losses import GaussianObjective, scale_shift_invariant_error


class MeanDistance(nn.Module):
    """Stands for LPIPS, whose weights a test machine need not have."""

    def forward(self, first, second, normalize):
        assert normalize
        return (first - second).abs().mean((1, 2, 3), keepdim=True)


def test_colour_error_by_hand():
    rgb, target = torch.zeros(1, 1, 3, 1, 2), torch.zeros(1, 1, 3, 1, 2)
    rgb[0, 0, :, 0, 0] = torch.tensor([1.0, 0.5, 0.0])
    terms = GaussianObjective(mse=1.0, lpips=0.0, depth=0.0)(rgb, target)
    assert_close(terms["mse"], torch.tensor(1.25 / 6))


def test_depth_error_by_hand():
    # Medians 2 and 30; deviations (1 + 0 + 3) / 3 and (10 + 0 + 20) / 3.
    depth, label = torch.tensor([[[1.0, 2, 5, 99]]]), torch.tensor([[[20.0, 30, 50, torch.nan]]])
    valid = torch.tensor([[[True, True, True, False]]])
    error = scale_shift_invariant_error(depth, label, valid)
    assert_close(error, torch.tensor([[[-0.75 + 1, 0, 2.25 - 2, 0]]]).abs())


def test_depth_error_forgives_scale_and_shift_but_not_sign(generator):
    label = torch.rand(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 3, 6, 7, generator=generator) < 0.8
    assert scale_shift_invariant_error(0.1 * label + 4, label, valid).max() < 1e-9
    assert scale_shift_invariant_error(-label, label, valid).mean() > 0.5


def test_depth_error_gradients_and_views_without_anything_to_learn(generator):
    depth = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    label = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    valid = torch.rand(3, 4, 5, generator=generator) < 0.8
    valid[1] = False
    label[2] = 1.0
    label[0][~valid[0]] = torch.nan
    depth.requires_grad_()
    assert torch.autograd.gradcheck(lambda d: scale_shift_invariant_error(d, label, valid), (depth,))
    error = scale_shift_invariant_error(depth, label, valid)
    assert not error[1:].any()
    (gradient,) = torch.autograd.grad(error.sum(), depth)
    assert gradient[0].any()
    assert not gradient[1:].any()


def test_objective_names_and_sums_its_terms(generator):
    rgb, target = torch.rand(2, 1, 2, 3, 4, 5, generator=generator)
    depth, label = torch.rand(2, 1, 3, 4, 5, generator=generator)
    valid = torch.ones(1, 3, 4, 5, dtype=torch.bool)
    objective = GaussianObjective()
    terms = objective(rgb, target, lpips_model=MeanDistance(), depth=depth, label=label, label_valid=valid)
    assert_close(terms["mse"], (rgb - target).square().mean())
    assert_close(terms["lpips"], (rgb - target).abs().mean())
    assert_close(objective.total(terms), terms["mse"] + 0.05 * terms["lpips"] + 0.1 * terms["depth"])
    assert set(objective(rgb, target, lpips_model=MeanDistance())) == {"mse", "lpips"}


def test_missing_pieces_are_named():
    image = torch.zeros(1, 1, 3, 2, 2)
    with pytest.raises(ValueError, match="load_lpips"):
        GaussianObjective()(image, image)
    with pytest.raises(ValueError, match="label_valid"):
        GaussianObjective(lpips=0.0)(image, image, label=torch.zeros(1, 1, 2, 2))


def test_regularisers_are_off_unless_they_have_a_weight():
    rgb = torch.rand(1, 1, 3, 4, 4)
    of_gaussians = {"opacities": torch.tensor([[0.2, 0.6]]), "sizes": torch.tensor([[1.0, 3.0]])}
    assert set(GaussianObjective(lpips=0, depth=0)(rgb, rgb, **of_gaussians)) == {"mse"}
    objective = GaussianObjective(lpips=0, depth=0, opacity=0.5, size=0.1)
    terms = objective(rgb, rgb, **of_gaussians)
    assert (terms["opacity"], terms["size"]) == (pytest.approx(0.4), pytest.approx(2.0))
    assert objective.total(terms) == pytest.approx(0.5 * 0.4 + 0.1 * 2.0)

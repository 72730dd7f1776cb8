"""Depth up to scale and shift: invariance, hand-solved weights, local spheres, gradients."""

import pytest
import torch
from torch.testing import assert_close

from geometry.losses.global_local import (
    align_globally,
    global_local_terms,
    global_loss,
    inverse_depth_weight,
    local_loss,
)


def scene(generator, n=2, H=40, W=48, dtype=torch.float64):
    """Wavy depths of a 60-pixel focal camera, some pixels without a label."""
    y, x = torch.meshgrid(torch.arange(H, dtype=dtype), torch.arange(W, dtype=dtype), indexing="ij")
    phase = torch.rand(n, 1, 1, generator=generator, dtype=dtype) * 6
    target = 3 + torch.sin(x / 7 + phase) + 0.5 * torch.cos(y / 5 - phase)
    valid = torch.rand(n, H, W, generator=generator) < 0.9
    K = torch.tensor([[60.0, 0, W / 2], [0, 60.0, H / 2], [0, 0, 1]], dtype=dtype).expand(n, 3, 3)
    return target, valid, K


def test_scale_and_shift_cost_nothing_and_are_undone(generator):
    target, valid, K = scene(generator)
    depth = 0.25 * target - 0.4
    target = torch.where(valid, target, torch.nan)
    terms, aligned = global_local_terms(depth, target, valid, K, generator=generator)
    assert set(terms) == {"global", "local_4", "local_16", "local_64"}
    for term in terms.values():
        assert term < 1e-9
    assert_close(aligned[valid], target[valid])


def test_terms_do_not_change_with_the_predictions_scale_and_shift(generator):
    target, valid, K = scene(generator)
    depth = target + 0.2 * torch.randn(target.shape, generator=generator, dtype=target.dtype)
    first, again = (
        global_local_terms(d, target, valid, K, generator=torch.Generator().manual_seed(5))[0]
        for d in (depth, 7 * depth + 3)
    )
    for name in first:
        assert_close(first[name], again[name], rtol=1e-3, atol=1e-6)
        if name in ("global", "local_4"):  # the other spheres have too few pixels at this size
            assert first[name] > 1e-3


def test_global_loss_by_hand():
    target = torch.tensor([[[1.0, 2.0, 4.0]]])
    depth = torch.tensor([[[1.0, 3.0, 4.0]]])
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    one, zero = torch.ones(1), torch.zeros(1)
    assert_close(global_loss(depth, target, valid, one, zero), torch.tensor(0.5 / 3))
    assert_close(global_loss(depth, target, valid, 2 * one, zero), torch.tensor((1 + 2 + 1) / 3))
    assert_close(global_loss(depth, target, valid, 2 * one, zero, loss_truncation=1.5), torch.tensor(3.5 / 3))
    assert global_loss(depth, target, valid, zero, zero).item() == 0  # the alignment failed


def test_weight_is_bounded():
    target = torch.ones(1, 10, 20)
    target[0, 0, 0] = 1e-5  # 1e5 times the weight of the others, mean 500
    weight = inverse_depth_weight(target, torch.ones_like(target, dtype=torch.bool))
    assert weight[0, 0, 0] == pytest.approx(10 * (1e5 + 199) / 200, rel=1e-3)


def test_alignment_ignores_forty_percent_of_outliers(generator):
    target, valid, K = scene(generator)
    depth = 2 * target + 1
    bad = torch.rand(target.shape, generator=generator) < 0.4
    depth = torch.where(bad, 30 * torch.rand(target.shape, generator=generator, dtype=target.dtype), depth)
    weight = inverse_depth_weight(target, valid)
    scale, shift = align_globally(depth, target, weight, generator=generator, truncation=0.1)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    assert_close(scale, half, atol=1e-6, rtol=0)
    assert_close(shift, -half, atol=1e-6, rtol=0)


def test_local_loss_sees_what_one_scale_and_shift_hides(generator):
    # Left and right half are each right up to their own scale: only spheres across the seam object.
    target, valid, K = scene(generator, n=1)
    depth = target.clone()
    depth[..., 24:] = 1.5 * depth[..., 24:] - 1.0
    scale, shift = align_globally(depth, target, inverse_depth_weight(target, valid), generator=generator)
    wide, small = (
        local_loss(depth, target, valid, K, scale, level, generator=generator, spheres=64)
        for level in (4, 12)
    )
    whole = global_loss(depth, target, valid, scale, shift)
    assert small < 0.5 * wide
    assert small < 0.2 * whole


def test_spheres_do_not_reach_across_a_depth_edge(generator):
    # Two walls, each right up to its own scale and shift. The widest sphere's radius is a fifth of the gap.
    target, valid, K = scene(generator, n=1)
    near = torch.arange(48) < 24
    target = torch.where(near, target / 2, target + 7)
    depth = torch.where(near, 1.2 * target + 0.1, 0.9 * target - 0.5)
    one = torch.ones(1, dtype=torch.float64)
    assert local_loss(depth, target, valid, K, one, 4, generator=generator, spheres=64) < 1e-9


def test_gradients_with_the_alignment_as_a_constant(generator):
    target, _, K = scene(generator, n=1, H=12, W=14)
    valid = torch.ones_like(target, dtype=torch.bool)
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    depth = (target + 0.2 * noise).requires_grad_()

    def loss(depth):
        return sum(
            global_local_terms(
                depth,
                target,
                valid,
                K,
                generator=torch.Generator().manual_seed(1),
                levels=(4,),
                spheres=2,
                truncation=torch.inf,
            )[0].values()
        )

    (gradient,) = torch.autograd.grad(loss(depth), depth)
    # The alignment is solved anew at every probe: that its derivative is zero is what this shows. The points
    # on an aligned line, two per alignment, have no gradient of their own.
    wrong, step = 0, 1e-7
    for row in range(0, 12, 2):
        for column in range(14):
            probe = torch.zeros_like(target)
            probe[0, row, column] = step
            numeric = (loss(depth.detach() + probe) - loss(depth.detach() - probe)) / (2 * step)
            wrong += abs(numeric - gradient[0, row, column]) > 1e-5
    assert wrong <= 3 * 2


def test_nothing_valid_is_zero_with_zero_gradient(generator):
    target, valid, K = scene(generator)
    depth = target.clone().requires_grad_()
    terms, aligned = global_local_terms(depth, target, torch.zeros_like(valid), K, generator=generator)
    assert torch.equal(aligned, depth)
    total = sum(terms.values())
    assert total.item() == 0
    assert not torch.autograd.grad(total, depth)[0].any()

"""Depth up to scale and shift: invariance, hand-solved weights, local spheres, gradients."""

import pytest
import torch
from torch.testing import assert_close

from geometry.losses.global_local import (
    align_globally,
    follow_alignment,
    global_local_terms,
    global_loss,
    inverse_depth_weight,
    local_loss,
)
from geometry.losses.gradient import gradient_loss
from geometry.losses.normal import normal_loss


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
    aligned = torch.tensor([[[1.0, 3.0, 4.0]]])
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    assert_close(global_loss(aligned, target, valid), torch.tensor(0.5 / 3))
    assert_close(global_loss(2 * aligned, target, valid), torch.tensor((1 + 2 + 1) / 3))


def test_gradient_through_the_alignment_by_hand():
    # D^ = (0, 1, 2) on the line D^ + 1. Moving the middle of three points turns no least-squares line and
    # lifts it by a third of the move: seen from the line, the middle rises by 2/3, the others sink by 1/3.
    depth = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    target, weight = depth.detach() + 1, torch.ones_like(depth)
    aligned = follow_alignment(depth, target, weight, one, one)
    assert_close(aligned.detach(), target)
    for at, expected in ((1, [-1 / 3, 2 / 3, -1 / 3]), (0, [1 / 6, -1 / 3, 1 / 6])):
        (gradient,) = torch.autograd.grad(aligned[0, at], depth, retain_graph=True)
        assert_close(gradient, torch.tensor([expected], dtype=torch.float64))


def test_a_point_beyond_the_truncation_keeps_its_own_gradient():
    depth = torch.tensor([[0.0, 1.0, 2.0, 50.0]], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    target = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    aligned = follow_alignment(depth, target, torch.ones_like(depth), one, one)
    (gradient,) = torch.autograd.grad(aligned[0, 3], depth)
    assert gradient[0, 3] == 1
    assert (
        follow_alignment(depth, target - 100, torch.ones_like(depth), one, one)[0, 3] == 51
    )  # all beyond it


def test_no_gradient_asks_for_another_scale_or_shift(generator):
    # All terms are indifferent to both, so their gradient must be as well: else the prediction drifts.
    target, valid, K = scene(generator)
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    depth = (2 * target + 0.4 * noise).requires_grad_()
    with torch.no_grad():
        depth[:, :6, :6] = 40  # beyond the truncation
    terms, aligned = global_local_terms(
        depth, target, valid, K, generator=generator, levels=(4,), spheres=(16,)
    )
    terms["gradient"] = gradient_loss(aligned, target, valid)
    terms["normal"] = normal_loss(aligned, target, valid, K)
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, depth, retain_graph=True)
        assert gradient.abs().sum() > 1e-2, name
        for direction in (depth.detach(), torch.ones_like(depth)):
            assert abs((gradient * direction).sum()) < 1e-9 * (gradient * direction).abs().sum(), name


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
    weight = inverse_depth_weight(target, valid)
    scale, shift = align_globally(depth, target, weight, generator=generator)
    wide, small = (
        local_loss(depth, target, valid, K, scale, level, generator=generator, spheres=64)
        for level in (4, 12)
    )
    whole = global_loss(scale * depth + shift, target, valid)
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


def test_derivative_is_that_of_a_least_squares_fit_to_the_value(generator):
    x = torch.randn(1, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    scale, shift = torch.tensor([[2.0], [0.5]], dtype=torch.float64)
    weight = torch.rand(1, 12, generator=generator, dtype=torch.float64)
    line = 2 * x.detach() + 0.5
    target = line + 0.1 * torch.randn(1, 12, generator=generator, dtype=torch.float64)
    target[0, 3], weight[0, 3], weight[0, 7] = 100.0, 1.0, 0.0  # truncated; not valid

    def fitted(x):
        root = (weight * (torch.arange(12) != 3)).sqrt()[0, :, None]
        columns = torch.stack((x[0], torch.ones(12, dtype=torch.float64)), dim=-1)
        return columns @ torch.linalg.lstsq(root * columns, root * line.mT).solution

    def ours(x):
        return follow_alignment(x, target, weight, scale, shift)

    assert_close(ours(x), line)
    wanted = torch.autograd.functional.jacobian(fitted, x)[:, 0, 0]
    assert_close(torch.autograd.functional.jacobian(ours, x)[0, :, 0], wanted)


def test_nothing_valid_is_zero_with_zero_gradient(generator):
    target, valid, K = scene(generator)
    depth = target.clone().requires_grad_()
    terms, aligned = global_local_terms(depth, target, torch.zeros_like(valid), K, generator=generator)
    assert torch.equal(aligned, depth)
    total = sum(terms.values())
    assert total.item() == 0
    assert not torch.autograd.grad(total, depth)[0].any()


def test_a_view_of_few_pixels_counts_as_a_dense_one_and_any_cut_has_the_same_loss(generator):
    target, valid, K = scene(generator, n=3)
    depth = target + 0.2 * torch.randn(target.shape, generator=generator, dtype=target.dtype)
    valid[1] = False
    valid[1, 5:12, 5:12] = True  # whole patches, so that it has normals
    valid[2] = False  # no truth at all counts as 0

    def terms(part):
        given = [x[part] for x in (depth, target, valid, K)]
        found = global_local_terms(*given, generator=torch.Generator().manual_seed(0), levels=(), spheres=())
        return found[0]["global"], normal_loss(*given)

    whole, cut = terms(slice(None)), [terms(slice(i, i + 1)) for i in range(3)]
    for all_at_once, one_by_one in zip(whole, zip(*cut)):
        assert_close(all_at_once, torch.stack(one_by_one).mean(), rtol=1e-6, atol=0)
        assert one_by_one[1] > 0
        assert one_by_one[2] == 0


def test_local_spheres_are_means_of_views(generator):
    # The same view twice, once wrong: a local loss twice as large as that of the right and the wrong one.
    target, valid, K = (x.repeat_interleave(2, 0) for x in scene(generator, n=1))
    depth = target.clone()
    depth[1] += 0.2 * torch.randn(target.shape[1:], generator=generator, dtype=target.dtype)
    one = torch.ones(2, dtype=torch.float64)
    both, empty = (
        local_loss(depth, target, v, K, one, 4, generator=torch.Generator().manual_seed(0), spheres=32)
        for v in (valid, valid & torch.tensor([False, True])[:, None, None])
    )
    assert both > 0
    assert_close(both, empty, rtol=0.2, atol=0)  # other spheres are drawn

"""The student's losses: cases solved by hand, gradients, empty masks."""

import math

import pytest
import torch
from torch.testing import assert_close

from geometry.losses.camera import camera_loss
from geometry.losses.depth import depth_loss
from geometry.losses.gradient import gradient_loss
from geometry.losses.point import point_loss, point_map_loss
from geometry.losses.ray import ray_loss
from geometry.ops.rays import resize_rays


def doubles(generator, *shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_depth_loss_by_hand():
    depth = torch.tensor([[[[1.0, 2.0, 9.0]]]])
    target = torch.tensor([[[[1.5, 2.0, math.nan]]]])
    valid = torch.tensor([[[[True, True, False]]]])
    assert_close(depth_loss(depth, target, valid), torch.tensor(0.25))
    conf = torch.tensor([[[[2.0, math.e, 1.0]]]])
    expected = (2 * 0.5 - 0.2 * math.log(2) + 0 - 0.2) / 2
    assert_close(depth_loss(depth, target, valid, conf, lambda_c=0.2), torch.tensor(expected))


def test_confidence_settles_at_lambda_over_error():
    error = 0.05
    conf = torch.tensor([[[[4.0]]]], requires_grad=True)  # 0.2 / 0.05
    ones = torch.ones(1, 1, 1, 1)
    depth_loss(ones + error, ones, ones.bool(), conf, lambda_c=0.2).backward()
    assert abs(conf.grad.item()) < 1e-6


def test_gradient_loss_by_hand():
    # Errors 0 1 / 3 1: across |1|, |-2|; down |3|, |0|.
    target = torch.zeros(1, 1, 2, 2)
    depth = torch.tensor([[[[0.0, 1.0], [3.0, 1.0]]]])
    valid = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert gradient_loss(depth, target, valid).item() == 1.5 + 1.5
    valid[..., 1, 0] = False  # leaves across 1, down 0
    assert gradient_loss(depth, target, valid).item() == 1.0
    assert gradient_loss(depth + 7, target, valid).item() == 1.0  # a shift has no gradient


def test_a_sparse_view_counts_as_a_dense_one():
    """The mean of each view, of a sample's views that have any, of samples: 1/Z of every depth map."""
    depth, target = torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4)
    depth[0, 0] = 1.0  # four pixels of error 1,
    depth[0, 1, 0, 0] = 3.0  # one of error 3; the second sample has no depth
    valid = depth > 0
    assert depth_loss(depth, target, valid).item() == (1 + 3) / 2 / 2
    assert depth_loss(depth[:1, :1], target[:1, :1], valid[:1, :1]).item() == 1.0
    valid[0, 1] = False  # a view without any is no view of error 0
    assert depth_loss(depth[:1], target[:1], valid[:1]).item() == 1.0


def test_ray_loss_by_hand():
    target = torch.zeros(1, 1, 1, 2, 6)
    rays = target.clone()
    rays[..., 0, 0] = 3.0
    assert ray_loss(rays, target).item() == 0.25  # 3 / 6 components / 2 cells
    assert ray_loss(rays, target, components="sum").item() == 1.5
    conf = torch.full((1, 1, 1, 2), 2.0)
    assert_close(ray_loss(rays, target, conf, lambda_c=0.1), torch.tensor(0.5 - 0.1 * math.log(2)))


def test_camera_loss_takes_the_nearer_sign():
    target = torch.tensor([[[1.0, 2, 3, 0, 0.6, 0, 0.8, 1, 1]]])
    flipped = target.clone()
    flipped[..., 3:7] *= -1
    assert camera_loss(flipped, target).item() == 0
    moved = target.clone()
    moved[..., 0] += 9
    assert_close(camera_loss(moved, target), torch.tensor(1.0))
    assert_close(camera_loss(moved, target, components="sum"), torch.tensor(9.0))


def test_point_loss_by_hand(generator):
    rays = doubles(generator, 1, 2, 3, 4, 6)
    depth = 1 + torch.rand(1, 2, 6, 8, generator=generator, dtype=torch.float64)
    full = resize_rays(rays, (6, 8))
    target = full[..., 3:] + depth[..., None] * full[..., :3]
    valid = torch.ones(1, 2, 6, 8, dtype=torch.bool)
    assert point_loss(depth, rays, target, valid) < 1e-12
    target[..., 1] += 3.0
    assert_close(point_loss(depth, rays, target, valid), torch.tensor(1.0, dtype=torch.float64))


def losses(generator):
    depth, target = doubles(generator, 2, 1, 4, 3), doubles(generator, 2, 1, 4, 3)
    conf = 1 + torch.rand(2, 1, 4, 3, generator=generator, dtype=torch.float64)
    rays, ray_target = doubles(generator, 2, 1, 2, 2, 6), doubles(generator, 2, 1, 2, 2, 6)
    ray_conf = 1 + torch.rand(2, 1, 2, 2, generator=generator, dtype=torch.float64)
    points = doubles(generator, 2, 1, 4, 3, 3)
    valid = torch.rand(2, 1, 4, 3, generator=generator) < 0.7
    return valid, {
        "depth": (lambda m, d, c: depth_loss(d, target, m, c), (depth, conf)),
        "gradient": (lambda m, d: gradient_loss(d, target, m), (depth,)),
        "ray": (lambda m, r, c: ray_loss(r, ray_target, c), (rays, ray_conf)),
        "point": (lambda m, d, r: point_loss(d, r, points, m), (depth, rays)),
        "camera": (
            lambda m, v: camera_loss(v, ray_target[:, :, 0].flatten(2)[..., :9]),
            (doubles(generator, 2, 1, 9),),
        ),
    }


@pytest.mark.parametrize("name", ["depth", "gradient", "ray", "point", "camera"])
def test_gradients(generator, name):
    valid, table = losses(generator)
    function, inputs = table[name]
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(lambda *x: function(valid, *x), inputs)


@pytest.mark.parametrize("name", ["depth", "gradient", "point"])
def test_no_valid_pixel_is_zero_with_zero_gradient(generator, name):
    valid, table = losses(generator)
    function, inputs = table[name]
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    loss = function(torch.zeros_like(valid), *inputs)
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, inputs):
        assert not gradient.any()


def test_points_have_the_same_loss_in_one_part_and_in_two(generator):
    """A sample of one measured point counts as a dense one, from depth and rays and as a point map alike."""
    depth = 1 + torch.rand(2, 2, 4, 6, generator=generator, dtype=torch.float64)
    rays = torch.randn(2, 2, 2, 3, 6, generator=generator, dtype=torch.float64)
    target = torch.randn(2, 2, 4, 6, 3, generator=generator, dtype=torch.float64)
    valid = torch.ones(2, 2, 4, 6, dtype=torch.bool)
    valid[1] = False
    valid[1, 0, 0] = True
    points = torch.randn(2, 2, 4, 6, 3, generator=generator, dtype=torch.float64)
    for loss, predicted in ((point_loss, (depth, rays)), (point_map_loss, (points,))):
        parts = [loss(*(p[[i]] for p in predicted), target[[i]], valid[[i]]) for i in range(2)]
        assert_close(loss(*predicted, target, valid), (parts[0] + parts[1]) / 2)

"""Surface normals around a pixel, their weights, and the loss on them."""

import math

import pytest
import torch
from torch.testing import assert_close

from geometry.losses.normal import angle, mean_normal, normal_loss, normals_around
from geometry.ops.pinhole import pixel_grid

K = torch.tensor([[[20.0, 0, 5.0], [0, 20.0, 4.0], [0, 0, 1]]], dtype=torch.float64)


def plane(normal, distance, size=(8, 10)):
    """Depth of the plane normal . x = distance."""
    pixels = pixel_grid(size, dtype=torch.float64)
    rays = torch.cat((pixels, torch.ones_like(pixels[..., :1])), -1) @ K[0].inverse().T
    return (distance / (rays @ torch.tensor(normal, dtype=torch.float64)))[None]


def test_all_normals_of_a_plane_are_its_normal():
    normal = [0.2, -0.3, (1 - 0.13) ** 0.5]
    normals = normals_around(plane(normal, 3.0), K)
    expected = torch.tensor(normal, dtype=torch.float64)
    assert_close(torch.nn.functional.normalize(normals, dim=-1), expected.expand_as(normals))
    mean = torch.nn.functional.normalize(mean_normal(normals), dim=-1)
    assert_close(mean, expected.expand_as(mean))


def test_large_triangles_weigh_less():
    # Lengths 1, 1, 1, 3: weights 5, 5, 5, 3.
    normals = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [3, 0, 0]], dtype=torch.float64)
    assert_close(mean_normal(normals), torch.tensor([3.0, 0, 15], dtype=torch.float64))


def test_loss_between_two_planes_is_five_angles():
    tilt = math.radians(10)
    first, second = plane([0, 0, 1.0], 3.0), plane([math.sin(tilt), 0, math.cos(tilt)], 3.0)
    valid = torch.ones_like(first, dtype=torch.bool)
    expected = torch.tensor(5 * tilt, dtype=torch.float64)
    assert_close(normal_loss(first, second, valid, K), expected, atol=1e-9, rtol=0)
    assert_close(normal_loss(4 * first, second, valid, K), expected, atol=1e-9, rtol=0)  # scale has no part
    assert normal_loss(second, second, valid, K) < 1e-6


@pytest.mark.parametrize("nearness", [1.0, 0.01])
def test_a_near_surface_weighs_its_neighbours_as_a_far_one_does(nearness, generator):
    # Float32, a long lens: triangles of 1e-10 square units, next to which nothing may be rounded off.
    target = 1 + torch.rand(1, 12, 14, generator=generator, dtype=torch.float64)
    depth = target + 0.2 * torch.rand(1, 12, 14, generator=generator, dtype=torch.float64)
    valid = torch.ones_like(target, dtype=torch.bool)
    intrinsics = torch.tensor([[[1000.0, 0, 7.0], [0, 1000.0, 6.0], [0, 0, 1]]], dtype=torch.float64)
    exact = normal_loss(depth, target, valid, intrinsics)
    near = normal_loss((nearness * depth).float(), (nearness * target).float(), valid, intrinsics.float())
    assert_close(near.double(), exact, rtol=1e-4, atol=0)


def test_angle_is_finite_where_it_could_fail():
    first = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 0], [2, 0, 0]], requires_grad=True)
    second = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [1, 0, 0], [0, 5, 0]])
    value = angle(first, second)
    assert_close(value[[0, 1, 3]], torch.tensor([0.0, math.pi, math.pi / 2]), atol=1e-3, rtol=0)
    assert torch.autograd.grad(value.sum(), first)[0].isfinite().all()


def test_gradients_and_masks(generator):
    depth = 2 + torch.rand(1, 5, 6, generator=generator, dtype=torch.float64)
    target = 2 + torch.rand(1, 5, 6, generator=generator, dtype=torch.float64)
    valid = torch.ones(1, 5, 6, dtype=torch.bool)
    valid[0, 0, 0] = valid[0, 2, 4] = False
    depth.requires_grad_()
    assert torch.autograd.gradcheck(lambda d: normal_loss(d, target, valid, K), (depth,))
    target[~valid] = torch.nan
    loss = normal_loss(depth, target, torch.zeros_like(valid), K)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, depth)[0].any()

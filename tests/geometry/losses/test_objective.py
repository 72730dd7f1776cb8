"""Objectives: perfect predictions, named terms, ablations, invariances, sky and missing labels."""

from dataclasses import replace

import pytest
import torch
from scenes import random_cameras
from torch.testing import assert_close

from geometry.losses.objective import (
    AnyViewObjective,
    MetricObjective,
    Objective,
    RelativeDepthObjective,
)
from geometry.ops.align import Similarity
from geometry.ops.metric import canonical_depth, metric_depth
from geometry.ops.pinhole import unproject
from geometry.ops.pose_encoding import encode_cameras
from geometry.ops.rays import rays_from_cameras, resize_rays
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.ops.scale import normalise_truth
from geometry.prediction import Geometry
from geometry.views import Truth

SIZE, GRID = (28, 42), (16, 24)


@pytest.fixture
def truth(generator):
    H, W = SIZE
    cameras = random_cameras(generator, 2, 2, focal=40.0, principal=(W / 2, H / 2))
    valid = torch.rand(2, 2, H, W, generator=generator) < 0.8
    depth = 2 + torch.rand(2, 2, H, W, generator=generator, dtype=torch.float64)
    return Truth(
        cameras=cameras,
        depth=torch.where(valid, depth, 0.0),
        valid=valid,
        metric=torch.tensor([True, False]),
        sky=~valid & (torch.rand(2, 2, H, W, generator=generator) < 0.5),
    )


def perfect(truth):
    return Geometry(
        depth=torch.where(truth.valid, truth.depth, 5.0),
        depth_conf=torch.ones_like(truth.depth),
        rays=rays_from_cameras(truth.cameras, SIZE, GRID),
        ray_conf=torch.ones(2, 2, *GRID, dtype=torch.float64),
        pose_encoding=encode_cameras(truth.cameras, SIZE),
        sky=None if truth.sky is None else truth.sky.double(),
    )


@pytest.mark.parametrize("sparse", [0.0, 0.02, 0.3])
def test_a_batch_has_the_same_loss_in_one_part_and_in_two(truth, generator, sparse):
    """A DL3DV-like sample of few points beside a dense one, or one without any depth."""
    H, W = SIZE
    thin = truth.valid.clone()
    thin[1] &= torch.rand(2, H, W, generator=generator) < sparse
    truth = replace(truth, valid=thin, sky=None, metric=torch.tensor([True, True]))
    metric = truth.metric
    truth, _ = normalise_truth(truth, torch.tensor([0, 1]))
    truth = replace(truth, metric=metric)
    guess = perfect(truth)
    guess = replace(guess, depth=guess.depth + torch.rand(guess.depth.shape, generator=generator).double())
    for objective in (AnyViewObjective(), MetricObjective()):
        whole = objective(guess, truth)
        halves = [objective(guess.map(lambda t: t[i : i + 1]), truth[i : i + 1]) for i in (0, 1)]  # noqa: B023
        for name, term in whole.items():
            assert_close(term, (halves[0][name] + halves[1][name]) / 2)
        if sparse:  # and half of it comes from the sparse sample, not a share of its pixels
            assert halves[1]["depth"] > 0.5 * halves[0]["depth"]


def test_a_perfect_student_has_zero_loss_in_every_term(truth):
    normalised, _ = normalise_truth(truth, torch.tensor([0, 1]))
    objective = AnyViewObjective()
    terms = objective(perfect(normalised), normalised)
    assert set(terms) == {"depth", "ray", "point", "camera", "gradient"}
    for term in terms.values():
        assert abs(term) < 1e-9


def test_each_term_sees_its_own_error(truth):
    normalised, _ = normalise_truth(truth, torch.tensor([0, 1]))
    good, objective = perfect(normalised), AnyViewObjective()
    bent = torch.zeros(*SIZE, dtype=torch.float64)
    bent[::2] = 0.3
    cases = {
        ("depth", "point", "gradient"): replace(good, depth=good.depth + bent),
        ("ray", "point"): replace(good, rays=good.rays + 0.1),
        ("camera",): replace(good, pose_encoding=good.pose_encoding + 0.1),
    }
    for names, geometry in cases.items():
        terms = objective(geometry, normalised)
        assert {name for name, term in terms.items() if term > 1e-6} == set(names)


def test_world_similarity_gives_the_same_loss(truth, generator):
    world = Similarity(
        scale=torch.tensor([3.0, 0.2], dtype=torch.float64),
        rotation=matrix_from_quat_xyzw(torch.randn(2, 4, generator=generator, dtype=torch.float64)),
        translation=torch.randn(2, 3, generator=generator, dtype=torch.float64),
    )
    moved = replace(
        truth,
        cameras=replace(truth.cameras, extrinsics=world.extrinsics(truth.cameras.extrinsics)),
        depth=truth.depth * world.scale[:, None, None, None],
    )
    reference = torch.tensor([1, 0])
    ours, theirs = normalise_truth(truth, reference)[0], normalise_truth(moved, reference)[0]
    geometry = perfect(ours)
    geometry = replace(geometry, depth=geometry.depth * 1.3, rays=geometry.rays + 0.05)
    objective = AnyViewObjective()
    first, second = objective(geometry, ours), objective(geometry, theirs)
    for name in first:
        assert_close(first[name], second[name])


def test_ablations_compute_only_their_terms(truth):
    normalised, _ = normalise_truth(truth, torch.tensor([0, 0]))
    good = perfect(normalised)
    depth_cam = AnyViewObjective(ray=0.0, point=0.0)
    without_rays = replace(good, rays=None, ray_conf=None)
    assert set(depth_cam(without_rays, normalised)) == {"depth", "camera", "gradient"}
    depth_ray = AnyViewObjective(camera=0.0)
    assert "camera" not in depth_ray(replace(good, pose_encoding=None), normalised)
    point_map = AnyViewObjective(ray=0.0, point=0.0, point_map=1.0)
    # The ray branch's last channels as points: on the depth grid itself they can be exact.
    points = torch.cat((torch.zeros_like(good.rays[..., :3]),) * 2, dim=-1)
    points = resize_rays(points, SIZE)
    points[..., 3:] = unproject(normalised.depth, normalised.cameras)
    terms = point_map(replace(good, rays=points, ray_conf=None), normalised)
    assert terms["point_map"] < 1e-9


def test_the_sum_is_weighted_and_complete():
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert Objective(a=0.5, b=2.0, c=9.0).total(terms).item() == 7.0
    with pytest.raises(ValueError, match="'b'"):
        Objective(a=1.0).total(terms)
    with pytest.raises(ValueError, match="all loss weights are 0"):
        MetricObjective(depth=0.0, gradient=0.0, sky=0.0)


def test_relative_depth_is_free_up_to_scale_and_shift_and_blind_under_sky(truth):
    geometry = perfect(truth)
    geometry = replace(geometry, depth=0.1 * geometry.depth + 0.3)
    objective = RelativeDepthObjective(levels=(4,), spheres=(4,))
    terms = objective(geometry, truth, torch.Generator().manual_seed(0))
    assert set(terms) == {"global", "local_4", "gradient", "normal", "sky"}
    assert objective.weights["gradient"] == 0.5
    for term in terms.values():
        assert term < 1e-6
    # Sky that a reader left in the valid mask must not count.
    wrong = replace(truth, valid=truth.valid | truth.sky, depth=torch.where(truth.sky, 1e4, truth.depth))
    again = objective(geometry, wrong, torch.Generator().manual_seed(0))
    assert_close(again["global"], terms["global"], atol=1e-9, rtol=0)
    objects = truth.valid.double()
    labelled = replace(truth, objects=truth.valid)
    terms = objective(geometry, labelled, torch.Generator().manual_seed(0), 0.5 * objects)
    assert_close(terms["objects"], 0.25 * objects.mean())


def test_relative_depth_loss_does_not_depend_on_the_unit_of_the_labels(truth):
    geometry = replace(perfect(truth), depth=truth.depth**2 + 1)
    objective = RelativeDepthObjective(levels=(4,), spheres=(4,))
    first, second = (
        objective(geometry, replace(truth, depth=truth.depth * unit), torch.Generator().manual_seed(0))
        for unit in (1.0, 1000.0)
    )
    for name in first:
        assert_close(first[name], second[name], rtol=1e-6, atol=1e-9)
    assert first["global"] > 1e-3


def test_metric_objective_trains_what_inference_undoes(truth):
    label = canonical_depth(truth.depth, truth.cameras.intrinsics)
    assert_close(label, truth.depth * 300 / 40)
    assert_close(metric_depth(label, truth.cameras.intrinsics), truth.depth)
    objective = MetricObjective()
    geometry = replace(perfect(truth), depth=label)
    for term in objective(geometry, truth).values():
        assert term < 1e-9
    # The second scene is not metric: nothing of its depth counts.
    wrong = geometry.depth.clone()
    wrong[1] += 100
    assert objective(replace(geometry, depth=wrong), truth)["depth"] < 1e-9


def test_no_labels_at_all_train_nothing_and_break_nothing(truth):
    empty = replace(truth, valid=torch.zeros_like(truth.valid), depth=torch.zeros_like(truth.depth), sky=None)
    geometry = perfect(truth)
    geometry = replace(geometry, depth=geometry.depth.requires_grad_(), sky=None)
    for objective, more in (
        (RelativeDepthObjective(), (torch.Generator().manual_seed(0),)),
        (MetricObjective(), ()),
    ):
        total = objective.total(objective(geometry, empty, *more))
        (gradient,) = torch.autograd.grad(total, geometry.depth)
        assert total.item() == 0
        assert not gradient.any()

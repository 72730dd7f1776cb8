"""Normalised ground truth: unit scale, reference frame, no memory of the world it came from."""

from dataclasses import replace

import torch
from scenes import random_cameras
from torch.testing import assert_close

from geometry.ops import se3
from geometry.ops.align import Similarity
from geometry.ops.pinhole import unproject
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.ops.scale import normalise_truth, scene_scale
from geometry.views import Cameras, Truth


def random_truth(generator, B=2, V=3, H=6, W=8):
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    cameras = random_cameras(generator, B, V, focal=7.0, principal=(W / 2, H / 2))
    valid = normal(B, V, H, W) > -0.5
    depth = torch.where(valid, 1 + 3 * torch.rand(B, V, H, W, generator=generator, dtype=torch.float64), 0.0)
    return Truth(cameras=cameras, depth=depth, valid=valid, metric=torch.ones(B, dtype=torch.bool))


def test_scale_by_hand():
    # One camera at the world's origin, focal 1, two pixels with slopes -0.5 and 0.5, one of them valid.
    cameras = Cameras(
        extrinsics=torch.eye(4)[None, None],
        intrinsics=torch.tensor([[[[1.0, 0, 1], [0, 1, 0.5], [0, 0, 1]]]]),
    )
    truth = Truth(
        cameras=cameras,
        depth=torch.tensor([[[[4.0, torch.nan]]]]),
        valid=torch.tensor([[[[True, False]]]]),
        metric=torch.tensor([True]),
    )
    scale = 20**0.5  # |(-2, 0, 4)|
    assert_close(scene_scale(truth), torch.tensor([scale]))
    normalised, factor = normalise_truth(truth, torch.tensor([0]))
    assert_close(factor, torch.tensor([scale]))
    assert_close(normalised.depth, torch.tensor([[[[4 / scale, 0.0]]]]))
    assert normalised.metric.tolist() == [False]


def test_points_have_mean_norm_one_in_the_reference_frame(generator):
    truth = random_truth(generator)
    reference = torch.tensor([2, 0])
    normalised, scale = normalise_truth(truth, reference)
    points = unproject(normalised.depth, normalised.cameras).norm(dim=-1)
    for scene in range(2):
        assert_close(points[scene][truth.valid[scene]].mean(), torch.tensor(1.0, dtype=torch.float64))
        assert torch.equal(
            normalised.cameras.extrinsics[scene, reference[scene]], torch.eye(4, dtype=torch.float64)
        )
    assert_close(normalised.depth * scale[:, None, None, None], truth.depth)


def test_a_similarity_of_the_world_leaves_targets_unchanged(generator):
    truth = random_truth(generator)
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
    reference = torch.tensor([1, 1])
    ours, scale = normalise_truth(truth, reference)
    theirs, moved_scale = normalise_truth(moved, reference)
    assert_close(moved_scale, scale * world.scale)
    assert_close(theirs.depth, ours.depth)
    assert_close(theirs.cameras.extrinsics, ours.cameras.extrinsics)


def test_without_depth_the_cameras_set_the_scale(generator):
    truth = random_truth(generator)
    truth = replace(truth, valid=torch.zeros_like(truth.valid))
    normalised, _ = normalise_truth(truth, torch.tensor([0, 0]))
    mean = se3.centres(normalised.cameras.extrinsics).norm(dim=-1).mean(-1)
    assert_close(mean, torch.ones(2, dtype=torch.float64))
    single = Truth(
        cameras=truth.cameras[:, :1],
        depth=truth.depth[:, :1],
        valid=truth.valid[:, :1],
        metric=truth.metric,
    )
    assert normalise_truth(single, torch.tensor([0, 0]))[1].tolist() == [1.0, 1.0]

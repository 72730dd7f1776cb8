"""Promises of the camera sampler, checked with full renders and not with its own probes."""

import math

import numpy as np
import pytest
import torch

from geometry.ops import se3
from geometry.ops.pinhole import fov_from_intrinsics, project, unproject
from geometry.worlds import KINDS, kernel, procedural_world, render, sample_cameras
from geometry.worlds.cameras import sample_lens
from geometry.worlds.paths import PATHS, look_at

SIZE = (48, 64)


@pytest.mark.extended
@pytest.mark.parametrize("path", PATHS)
def test_views_overlap_in_a_chain_and_stand_free(path):
    world = procedural_world(hash_of(path), KINDS[hash_of(path) % len(KINDS)], texture_size=64)
    cameras = sample_cameras(world, 6, SIZE, torch.Generator().manual_seed(7), path)
    views = render(world, cameras, SIZE, smooth=False)
    assert views.depth[~views.sky].min() > 0.8 * world.near  # probes are coarse
    arrays = kernel.arrays_of(world)
    for centre in se3.centres(cameras.extrinsics)[0].double().tolist():
        assert not kernel.inside(arrays, *centre)

    points = unproject(views.depth, cameras)
    overlap = torch.eye(6)
    for a in range(6):
        for b in range(6):
            pixel, depth = project(points[:, a : a + 1], cameras[:, b : b + 1])
            i = pixel[0, 0].floor().long()
            framed = (i >= 0).all(-1) & (i[..., 0] < SIZE[1]) & (i[..., 1] < SIZE[0]) & (depth[0, 0] > 0)
            i = i.clamp(min=0).minimum(torch.tensor([SIZE[1] - 1, SIZE[0] - 1]))
            seen = views.depth[0, b][i[..., 1], i[..., 0]]
            same = framed & ((seen - depth[0, 0]).abs() < 0.1 * depth[0, 0]) & ~views.sky[0, a]
            overlap[a, b] = same.sum() / (~views.sky[0, a]).sum()
    joined = (0.5 * (overlap + overlap.T) > 0.18).float()
    assert (torch.linalg.matrix_power(joined, 6) > 0).all(), overlap


def hash_of(name: str) -> int:
    return sum(map(ord, name)) % 50


def test_lenses_keep_to_their_range_and_are_at_times_off_centre():
    rng = np.random.default_rng(0)
    lenses = torch.cat([sample_lens(rng, 3, SIZE) for _ in range(200)])
    fov = torch.rad2deg(fov_from_intrinsics(lenses, SIZE))[:, 1]
    assert fov.min() > 29.9
    assert fov.max() < 100.1
    assert fov.std() > 10
    off = (lenses[:, 0, 2] - SIZE[1] / 2).abs() > 0.1
    assert 0.2 < off.float().mean() < 0.5


def test_look_at_puts_the_target_on_the_axis_with_the_sky_up():
    centres, targets = np.array([[1.0, -2, 1]]), np.array([[0.0, 3, 2]])
    pose = torch.from_numpy(look_at(centres, targets, np.zeros(1)))
    target = (pose[0] @ torch.tensor([*targets[0], 1.0], dtype=torch.float64))[:3]
    above = (pose[0] @ torch.tensor([*(targets[0] + (0, 0, 1)), 1.0], dtype=torch.float64))[:3]
    assert torch.allclose(target, torch.tensor([0, 0, math.sqrt(27)], dtype=torch.float64))
    assert above[1] < 0  # y points down
    assert abs(above[0]) < 1e-9
    assert torch.allclose(torch.linalg.det(pose[0, :3, :3]), torch.tensor(1.0, dtype=torch.float64))


def test_unknown_path_is_named():
    world = procedural_world(0, "objects", texture_size=64)
    with pytest.raises(ValueError, match="'swim'"):
        sample_cameras(world, 2, SIZE, torch.Generator(), "swim")

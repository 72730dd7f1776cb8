"""Links against independent solvers, graphs against what one solves by hand, orders and cuts."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry.chunks.align import Link, align
from geometry.chunks.cut import cut, in_order
from geometry.chunks.graph import solve
from geometry.chunks.passes import Chunk
from geometry.ops import se3
from geometry.ops.align import Similarity
from geometry.ops.pinhole import unproject
from geometry.prediction import Geometry
from geometry.views import Cameras, Views

TURN = torch.from_numpy(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())
WORLD = Similarity(
    scale=torch.tensor(1.7).double(), rotation=TURN, translation=torch.tensor([3.0, -1, 2]).double()
)
ONE = torch.eye(3).double()


def chunk(photos, world, depth, poses):
    K = torch.tensor([[40.0, 0, 20], [0, 40, 15], [0, 0, 1]]).expand(1, len(photos), 3, 3)
    cameras = Cameras(extrinsics=world.extrinsics(poses[photos])[None].float(), intrinsics=K)
    geometry = Geometry(depth=(depth[:, photos] * world.scale).float(), cameras=cameras)
    return Chunk(photos=tuple(photos), geometry=geometry, file=Path())


@pytest.fixture
def two():
    """Chunks of photos 0..4 and 3..7 in two worlds."""
    rng = np.random.default_rng(0)
    turns = torch.from_numpy(Rotation.from_rotvec(rng.normal(0, 0.2, (8, 3))).as_matrix())
    poses = se3.from_rotation_translation(turns, torch.from_numpy(rng.normal(0, 1, (8, 3))))
    depth = torch.from_numpy(rng.uniform(2, 6, (1, 8, 30, 40)))
    here = Similarity(scale=ONE[0, 0], rotation=ONE, translation=0 * ONE[0])
    return [chunk([0, 1, 2, 3, 4], here, depth, poses), chunk([4, 3, 5, 6, 7], WORLD.inverse(), depth, poses)]


def test_a_link_is_the_similarity_that_other_solvers_find(two):
    pycolmap = pytest.importorskip("pycolmap")
    link = align(*two, 0, 1, Views(images=torch.zeros(1, 8, 3, 30, 40)))
    assert link.believed
    source, target = (
        unproject(c.geometry.depth[:, r], c.geometry.cameras[:, r])[0].double().reshape(-1, 3).numpy()
        for c, r in zip(reversed(two), ([1, 0], [3, 4]))
    )
    theirs = pycolmap.estimate_sim3d(source, target)
    for ours, other in (
        (link.similarity.scale, theirs.scale),
        (link.similarity.rotation, theirs.rotation.matrix()),
        (link.similarity.translation, theirs.translation),
    ):
        np.testing.assert_allclose(ours.numpy(), other, atol=2e-5)
    torch.testing.assert_close(link.similarity.translation, WORLD.translation, atol=2e-5, rtol=0)


def test_outliers_and_one_wrong_camera_do_not_move_a_link(two):
    wild = torch.from_numpy(np.random.default_rng(1).random((1, 5, 30, 40)) < 0.35)
    depth = two[1].geometry.depth
    depth[wild] *= 2.5
    two[1].geometry.cameras.extrinsics[0, 0, :3, 3] += 1
    link = align(*two, 0, 1, Views(images=torch.zeros(1, 8, 3, 30, 40)))
    assert 0.2 < link.share < 0.5  # of the two photos one is wrong, and a third of the other's pixels
    assert not link.believed
    torch.testing.assert_close(link.similarity.scale, WORLD.scale, atol=1e-3, rtol=0)
    torch.testing.assert_close(link.similarity.rotation, WORLD.rotation, atol=1e-3, rtol=0)


def link(first, second, at, error=0.02):
    at = torch.tensor(at).double()
    similarity = Similarity(scale=ONE[0, 0], rotation=ONE, translation=at)
    return Link(first=first, second=second, similarity=similarity, share=1.0, error=error)


def test_drift_is_spread_evenly_over_a_loop():
    """Four chunks, each said to lie 1.1 ahead of the one before, the last 3.0 ahead of the first: 0.3 too
    many over four equal links are 0.075 for each."""
    links = [link(k, k + 1, [1.1, 0, 0]) for k in range(3)]
    sizes, middles = np.full(4, 10.0), np.zeros((4, 3))
    world, loops = solve(links, sizes, middles, [link(0, 3, [3.0, 0, 0])])
    assert len(loops) == 1
    expected = torch.tensor([0, 1.025, 2.05, 3.075]).double()
    torch.testing.assert_close(world.translation[:, 0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(world.scale, torch.ones(4).double(), atol=5e-3, rtol=0)


def test_links_around_any_point_give_the_same_chunks():
    """A chain has nothing to settle: the solution is its product, wherever the chunks' origins lie."""
    links = [Link(first=k, second=k + 1, similarity=WORLD, share=1.0, error=0.01) for k in range(2)]
    world, _ = solve(links, np.ones(3), np.random.default_rng(0).normal(0, 5, (3, 3)))
    for ours, product in ((world[1], WORLD), (world[2], WORLD.then(WORLD))):
        torch.testing.assert_close(ours.translation, product.translation)
        torch.testing.assert_close(ours.rotation, product.rotation)
        torch.testing.assert_close(ours.scale, product.scale)


def test_a_loop_that_all_others_contradict_is_left_out():
    links = [link(k, k + 1, [1.0, 0, 0]) for k in range(9)]
    right, wrong = link(0, 8, [7.9, 0, 0]), link(1, 9, [0.0, 6, 0])
    world, loops = solve(links, np.ones(10), np.zeros((10, 3)), [right, wrong])
    assert [(each.first, each.second) for each in loops] == [(0, 8)]
    assert world.translation[:, 1].abs().max() < 1e-3


def test_cuts_cover_everything_and_share_enough():
    for count in (5, 12, 13, 18, 100, 1001):
        runs = cut(count, 12, 6)
        assert sorted({photo for run in runs for photo in run}) == list(range(count))
        assert all(len(run) == min(12, count) for run in runs)
        assert all(a.stop - b.start >= 6 for a, b in pairwise(runs))
    assert len(cut(1001, 12, 6)) == 166  # linear: (1001 - 6) / 6


def test_photos_in_disorder_get_an_order_and_others_keep_theirs():
    angle = np.linspace(0, 2, 40)
    features = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    assert in_order(features) == list(range(40))
    mixed = np.random.default_rng(0).permutation(40)
    found = mixed[in_order(features[mixed])]
    assert list(found) in (list(range(40)), list(range(39, -1, -1)))

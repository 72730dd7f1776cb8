"""Matches of patches: solved by hand, hidden surfaces, invariances, draws."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from geometry.ops.correspondence import match_patches
from geometry.views import Cameras, Truth

PATCH, FOCAL = 14, 28.0
H, W = 28, 56  # 2 x 4 patches


def wall(shift_px, depth=2.0):
    """Two cameras before a wall; the second has moved to the right, so that it shifts so many pixels."""
    K = torch.tensor([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1]]).expand(1, 2, 3, 3)
    E = torch.eye(4).repeat(1, 2, 1, 1)
    E[0, 1, 0, 3] = -shift_px * depth / FOCAL
    z = torch.full((1, 2, H, W), depth)
    return Truth(
        cameras=Cameras(extrinsics=E, intrinsics=K),
        depth=z,
        valid=torch.ones_like(z, dtype=torch.bool),
        metric=torch.tensor([False]),
    )


def table(matches):
    """{patch that asks: {patch found: weight}}, weights of 0 left out."""
    return {
        int(q): {int(k): float(x) for k, x in zip(ks, xs) if x > 1e-6}
        for q, ks, xs in zip(matches.patch[0], matches.matches[0], matches.weights[0])
    }


def test_a_shift_by_one_patch_is_found():
    # The pixel asked, at 7.5, is half a pixel beyond the patch's centre: 1/28 of the weight goes to the next.
    found = table(match_patches(wall(14.0), PATCH))
    a = 0.5 / 14
    assert found[0] == {}  # its surface left the second view
    wanted = {8: (1 - a) ** 2, 9: (1 - a) * a, 12: a * (1 - a), 13: a * a}
    assert found[1] == pytest.approx(wanted, rel=1e-4)
    assert found[8] == pytest.approx({k - 7: v for k, v in wanted.items()}, rel=1e-4)  # back again
    assert found[11] == {}


def test_half_a_patch_is_shared():
    found = table(match_patches(wall(6.5), PATCH))
    # 7.5 + 14 - 6.5 = 15 is 8 / 14 of the way from the first centre to the second; rows as above.
    right, down = 8 / 14, 0.5 / 14
    wanted = {
        8: (1 - right) * (1 - down),
        9: right * (1 - down),
        12: (1 - right) * down,
        13: right * down,
    }
    assert found[1] == pytest.approx(wanted, rel=1e-4)


def test_something_in_front_hides_the_match():
    truth = wall(14.0)
    truth.depth[0, 1, :, 0:14] = 1.0
    found = table(match_patches(truth, PATCH))
    assert found[1] == {}
    assert found[2] != {}


def test_unknown_depth_neither_asks_nor_answers():
    truth = wall(14.0)
    truth.valid[0, 0, 7, 14 + 7] = False  # patch 1 asks here
    truth.valid[0, 1, 7, 14 + 7] = False  # patch 2 would find its surface here
    found = table(match_patches(truth, PATCH))
    assert found[1] == {}
    assert found[2] == {}
    assert found[3] != {}


def test_a_similarity_of_the_world_changes_nothing(batch_of_rooms):
    truth = batch_of_rooms
    world = torch.eye(4)
    world[:3, :3] = torch.linalg.matrix_exp(torch.tensor([[0, -0.3, 0.1], [0.3, 0, 0.5], [-0.1, -0.5, 0]]))
    E = truth.cameras.extrinsics @ world
    E[..., :3, 3] *= 3
    moved = replace(truth, cameras=replace(truth.cameras, extrinsics=E), depth=3 * truth.depth)
    here, there = match_patches(truth, PATCH), match_patches(moved, PATCH)
    assert here.found.float().mean() > 0.2
    same = (here.found == there.found).float().mean()
    assert same > 0.98  # a point on a border may fall on either side
    both = here.found & there.found
    assert_close(here.weights[both], there.weights[both], atol=1e-2, rtol=0)


@pytest.fixture(scope="module")
def batch_of_rooms():
    from geometry.worlds import ProceduralDataset

    world = ProceduralDataset(3, photometry=0.0, texture_size=64, kinds=["room"])
    return world.sample(0, n_views=3, image_size=(56, 70), path="slide").truth


def test_patches_with_known_depth_ask_first():
    truth = wall(14.0)
    truth.valid[:, 0] = False
    drawn = match_patches(truth, PATCH, queries=8, generator=torch.Generator().manual_seed(0)).patch
    assert sorted(drawn[0].tolist()) == list(range(8, 16))
    fewer = match_patches(truth, PATCH, queries=3, generator=torch.Generator().manual_seed(0))
    assert fewer.patch.shape == (1, 3)
    assert fewer.matches.shape == fewer.weights.shape == (1, 3, 8)


def test_views_do_not_match_themselves():
    matches = match_patches(wall(0.0), PATCH)
    T = (H // PATCH) * (W // PATCH)
    own = (matches.matches // T) == (matches.patch // T)[..., None]
    assert matches.weights[own].abs().max() == 0
    assert matches.found.all()

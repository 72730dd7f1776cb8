"""The steps of the sweep, each against a hand-solved or brute-force answer."""

import numpy as np
import pytest
import torch

from geometry.ops.pinhole import project, unproject
from geometry.views import Cameras
from nvs.stereo.agreement import add_evidence, count_agreement
from nvs.stereo.pixel_maps import pixel_maps
from nvs.stereo.semi_global import semi_global
from nvs.stereo.sources import source_views
from nvs.stereo.volume import matching_volume


def pair(shift=1.0, size=(20, 30)):
    """Two cameras side by side, ``shift`` apart."""
    extrinsics = torch.eye(4).repeat(1, 2, 1, 1)
    extrinsics[0, 1, 0, 3] = -shift
    K = torch.tensor([[20.0, 0, size[1] / 2], [0, 20, size[0] / 2], [0, 0, 1]])
    return Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, 2, 3, 3))


EACH_OTHER = np.array([[1], [0]])


def test_pixel_maps_agree_with_projection(generator):
    turn = torch.linalg.qr(torch.randn(2, 3, 3, generator=generator))[0]
    turn = turn * torch.linalg.det(turn)[:, None, None]
    extrinsics = torch.eye(4).repeat(1, 2, 1, 1)
    extrinsics[0, :, :3, :3], extrinsics[0, :, :3, 3] = turn, torch.randn(2, 3, generator=generator)
    cameras = Cameras(extrinsics=extrinsics, intrinsics=pair().intrinsics)
    depth = 1 + torch.rand(1, 2, 4, 5, generator=generator)
    wanted, z = project(unproject(depth, cameras)[:, :1], cameras[:, 1:])
    A, B = pixel_maps(cameras, EACH_OTHER)[0, 0]
    y, x = np.mgrid[:4, :5]
    d = depth[0, 0].numpy()
    mapped = np.stack([x, y, np.ones_like(x)], -1) @ A.T + B[:, 2] / d[..., None]
    np.testing.assert_allclose(mapped[..., :2] / mapped[..., 2:] + 0.5, wanted[0, 0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(mapped[..., 2] * d, z[0, 0], rtol=1e-4, atol=1e-4)


def test_photos_agree_on_the_right_plane(generator):
    """At depth 5 with focal 20 and shift 1 a plane moves by 4 pixels."""
    texture = torch.rand(20, 60, generator=generator).numpy()
    grey = np.stack([texture[:, 10:40], texture[:, 14:44]])
    inverse = np.tile(np.float32([1 / 20, 1 / 5, 1 / 2.5]), (2, 1))
    volume = matching_volume(grey, pixel_maps(pair(), EACH_OTHER), EACH_OTHER, inverse, window=5)
    inner = volume[0, 3:-3, 7:-3]
    np.testing.assert_allclose(inner[..., 1], 0.5, atol=0.01)  # 1, halved: there is one source alone
    assert inner[..., [0, 2]].max() < 0.45
    # Four columns are outside the other photo at that depth, and say nothing.
    assert (volume[0, :, :3, 1] == 0).all()


def best_path(cost, prices, step):
    """Least cost of a path that ends at the last pixel on each plane, by trying everything."""
    total = cost[0].astype(np.float64)
    for i in range(1, len(cost)):
        P = len(total)
        least = total.min()
        total = np.array(
            [
                min(
                    total[q] - least + (0 if q == p else step if abs(q - p) == 1 else prices[i - 1])
                    for q in range(P)
                )
                for p in range(P)
            ]
        )
        total = np.minimum(total, prices[i - 1]) + cost[i]
    return total


def test_semi_global_is_the_best_path(generator):
    cost = torch.rand(1, 1, 6, 5, generator=generator).numpy()
    grey = torch.rand(1, 1, 6, generator=generator).numpy()
    step, jump, edge = 0.1, 0.5, 0.2
    prices = step + (jump - step) / (1 + np.abs(np.diff(grey[0, 0])) / edge)
    smooth = semi_global(cost, grey, step=step, jump=jump, edge=edge)
    # With one row the two vertical paths are a pixel long.
    for x in range(6):
        right = best_path(cost[0, 0, : x + 1], prices[:x], step)
        left = best_path(cost[0, 0, x:][::-1], prices[x:][::-1], step)
        wanted = 0.25 * (right + left + 2 * cost[0, 0, x])
        np.testing.assert_allclose(smooth[0, 0, x], wanted, rtol=1e-5)


def test_views_count_surfaces_and_what_they_look_through():
    cameras = pair(shift=0.0)
    depth = np.full((2, 20, 30), 5.0, np.float32)
    depth[0, 4, 6] = 2.0  # hangs in the air before the other's wall
    depth[0, 8, 9] = 9.0  # behind it: hidden, no contradiction
    maps = pixel_maps(cameras, EACH_OTHER)
    same, through = count_agreement(depth, np.ones_like(depth, bool), maps, EACH_OTHER)
    assert same[0].sum() == 20 * 30 - 2
    assert through[0].sum() == 1
    assert through[0, 4, 6] == 1
    doubted = np.ones_like(depth, bool)
    doubted[1] = False
    _, through = count_agreement(depth, doubted, maps, EACH_OTHER)
    assert through[0].sum() == 0


def test_evidence_favours_surfaces_and_forbids_floaters():
    depth = np.full((2, 20, 30), 5.0, np.float32)
    inverse = np.tile(np.float32([1 / 9, 1 / 5, 1 / 2]), (2, 1))
    cost = np.ones((2, 20, 30, 3), np.float32)
    trusted = np.ones_like(depth, bool)
    trusted[0] = False  # so the first view hears of the second, not the other way round
    maps = pixel_maps(pair(shift=0.0), EACH_OTHER)
    add_evidence(cost, inverse, depth, trusted, maps, EACH_OTHER, reward=0.2, penalty=0.4)
    np.testing.assert_allclose(cost[0], np.broadcast_to(np.float32([1, 0.8, 1.4]), cost[0].shape))
    np.testing.assert_allclose(cost[1], 1)


@pytest.mark.extended
@pytest.mark.parametrize("ahead", [0.6, -0.6])
def test_evidence_is_that_of_points_in_the_other_view(ahead):
    """Against the same by plain projection, with points beside the other picture and behind its camera."""
    g = np.random.default_rng(0)
    depth = g.uniform(3, 6, (2, 20, 30)).astype(np.float32)
    trusted = g.random(depth.shape) < 0.7
    inverse = np.tile(np.linspace(1 / 9, 1, 16, dtype=np.float32), (2, 1))
    turned = pair(shift=4.0)
    turned.extrinsics[0, 1, :3, :3] = torch.tensor([[ahead, 0, 0.8], [0, 1, 0], [-0.8, 0, ahead]])
    wanted = np.zeros((20, 30, 16))
    E, K = (t[0].double().numpy() for t in (turned.extrinsics, turned.intrinsics))
    for y, x, p in np.ndindex(*wanted.shape):
        point = np.linalg.inv(E[0]) @ [*(np.linalg.inv(K[0]) @ [x + 0.5, y + 0.5, 1]) / inverse[0, p], 1]
        seen = E[1, :3] @ point
        if seen[2] <= 0:
            continue
        column, row = np.floor((K[1] @ seen)[:2] / seen[2]).astype(int)
        if 0 <= column < 30 and 0 <= row < 20 and trusted[1, row, column]:
            ratio = seen[2] / depth[1, row, column]
            wanted[y, x, p] = 0.4 * (ratio < 1 - 3 * 0.015) - 0.2 * (abs(ratio - 1) < 0.015)
    cost = np.zeros((2, 20, 30, 16), np.float32)
    maps = pixel_maps(turned, EACH_OTHER)
    add_evidence(cost, inverse, depth, trusted, maps, EACH_OTHER, reward=0.2, penalty=0.4)
    assert ((wanted != 0).mean() > 0.02) == (ahead > 0)
    assert (np.abs(cost[0] - wanted) > 1e-6).mean() < 0.002  # on an edge of a pixel, by rounding


def test_sources_are_near_but_not_at_the_same_place():
    """Centres at 0, 0.01, 1 and 4 before a scene at depth 7: eight degrees are about one unit."""
    extrinsics = torch.eye(4).repeat(1, 4, 1, 1)
    extrinsics[0, :, 0, 3] = -torch.tensor([0.0, 0.01, 1.0, 4.0])
    K = torch.tensor([[20.0, 0, 15], [0, 20, 10], [0, 0, 1]]).expand(1, 4, 3, 3)
    found = source_views(Cameras(extrinsics=extrinsics, intrinsics=K), (20, 30), torch.full((4,), 7.0), 2)
    assert found[0].tolist() == [2, 3]
    assert found.shape == (4, 2)
    assert all(view not in row for view, row in enumerate(found.tolist()))

"""Plants and thin things stand in the world that was there without them."""

import math

import numpy as np
import pytest
import torch

from geometry.worlds import ProceduralDataset, procedural_world
from geometry.worlds.builder import Builder
from geometry.worlds.layouts.growth import MOST, branches, rod


@pytest.mark.parametrize("kind", ["objects", "outdoor"])
def test_a_world_keeps_what_it_had(kind):
    bare = procedural_world(3, kind, texture_size=64)
    grown = procedural_world(3, kind, texture_size=64, overgrown=True)
    had = len(bare.kind)
    assert 30 < len(grown.kind) - had < 2 * MOST
    for name in ("kind", "centre", "rotation", "half_size", "tint"):
        assert torch.equal(getattr(grown, name)[:had], getattr(bare, name))
    assert all(torch.isfinite(getattr(grown, name)).all() for name in ("centre", "rotation", "half_size"))
    # Rotations, so that nothing is sheared.
    eye = grown.rotation @ grown.rotation.mT
    torch.testing.assert_close(eye, torch.eye(3).expand_as(eye), atol=1e-5, rtol=0)


@pytest.mark.parametrize("end", [(1.0, 2.0, 3.0), (0.5, 0.0, 0.0), (0.0, 0.0, -2.0)])
def test_a_rod_goes_from_point_to_point(end):
    b = Builder(np.random.default_rng(0), 64)
    rod(b, (0.5, 0.5, 0.5), end, 0.01, 0)
    (primitive,) = b._primitives
    along = primitive["rotation"].T @ (0, 0, primitive["half_size"][2])
    np.testing.assert_allclose(primitive["centre"] - along, (0.5, 0.5, 0.5), atol=1e-12)
    np.testing.assert_allclose(primitive["centre"] + along, end, atol=1e-12)


def test_a_tree_carries_leaves_at_its_last_branches_or_none():
    counts = []
    for leaf in (None, 1):
        b = Builder(np.random.default_rng(0), 64)
        branches(b, (0, 0, 0), (0, 0, 1), 1.0, 0.1, 0, leaf, 3)
        assert all(0 <= p["centre"][2] < 4 and math.isfinite(p["centre"][0]) for p in b._primitives)
        bark = sum(p["material"] == 0 for p in b._primitives)
        counts.append([bark, len(b._primitives) - bark])
    assert counts[0][1] == 0
    assert counts[1][1] % 12 == 0
    assert counts[1][1] >= 4 * 12
    assert min(c[0] for c in counts) >= 7


def test_a_share_of_worlds_is_overgrown():
    plain, some = (
        ProceduralDataset(4, texture_size=64, kinds=["objects"], overgrown=share) for share in (0.0, 0.5)
    )
    more = [len(some.world(i).kind) - len(plain.world(i).kind) for i in range(4)]
    assert min(more) == 0
    assert max(more) > 30

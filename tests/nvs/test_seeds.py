"""Which photos become Gaussians: what fits in one pass, a part before refinement, few in few minutes."""

import time
from itertools import pairwise

import pytest
import torch

from geometry.views import Cameras, Views
from nvs import seeds
from nvs.options import GaussianOptions
from nvs.seeds import affordable, choose_seeds, sampled, spread_gaussians

GOOD, DRAFT = GaussianOptions(), GaussianOptions(quality="draft")


def views(photos: int, size: tuple[int, int] = (280, 504), *, posed: bool = True) -> Views:
    """Photos along a line, all of one storage."""
    poses = torch.eye(4).expand(1, photos, 4, 4).clone()
    poses[0, :, 0, 3] = torch.arange(photos)
    cameras = Cameras(extrinsics=poses, intrinsics=torch.eye(3).expand(1, photos, 3, 3))
    images = torch.zeros(1, 1, 3, 1, 1).expand(1, photos, 3, *size)
    return Views(images=images, cameras=cameras if posed else None)


def test_refinement_starts_from_a_spread_third_of_many_photos():
    assert choose_seeds(views(32), GOOD) == list(range(32))
    fifty = choose_seeds(views(50), GOOD)
    assert len(fifty) == 32
    assert fifty == sorted(fifty)
    assert len(choose_seeds(views(180), GOOD)) == 60
    chosen = choose_seeds(views(900), GOOD)
    assert len(chosen) == int(600_000 * 16 / (280 * 504))
    assert max(b - a for a, b in pairwise(chosen)) < 40


def test_one_pass_takes_as_many_as_fit_two_pixels_apart_or_a_third():
    assert choose_seeds(views(85), DRAFT) == list(range(85))
    chosen = choose_seeds(views(200), DRAFT)
    assert len(chosen) == int(3_000_000 * 4 / (280 * 504)) == 85
    assert max(b - a for a, b in pairwise(chosen)) < 5
    assert len(choose_seeds(views(900), DRAFT)) == 300


def test_photos_without_cameras_are_all_taken():
    assert choose_seeds(views(200, posed=False), DRAFT) == list(range(200))
    assert choose_seeds(views(200, posed=False), GOOD) == list(range(200))


def test_seeds_share_a_budget_of_gaussians():
    few = views(12).image_size, 12
    assert spread_gaussians(*few, GOOD, 2.0) == 2.0
    assert [spread_gaussians(few[0], n, GOOD, 2.0) for n in (1, 3, 4)] == [4.0, 4.0, 2.0]
    assert spread_gaussians(*few, DRAFT, 2.0) == 2.0
    assert spread_gaussians(*few, DRAFT, 1.0) == 1.0
    large = (1000, 2000), 32
    assert 32 * 1000 * 2000 / spread_gaussians(*large, GOOD, 2.0) ** 2 == pytest.approx(seeds.MOST_REFINED)


def test_what_is_seen_twice_as_much_is_drawn_twice_as_often():
    pixels = torch.tensor([1.0, 2.0, 0.0]).repeat_interleave(40_000)
    drawn = sampled(pixels, 1.0, seed=0)
    assert len(drawn) == len(pixels) / 16
    assert (drawn.diff() > 0).all()
    of_each = torch.bincount(drawn // 40_000, minlength=3)
    # Without replacement: n w of each kind would be 2500 and 5000, less what was drawn before.
    assert of_each[1] / of_each[0] == pytest.approx(1.93, abs=0.1)
    assert of_each[2] < 60
    assert torch.equal(drawn, sampled(pixels, 1.0, seed=0))
    assert not torch.equal(drawn, sampled(pixels, 1.0, seed=1))


def test_gaussians_no_finer_than_wanted_all_stay():
    assert torch.equal(sampled(torch.rand(50), 4.0, seed=0), torch.arange(50))
    assert torch.equal(sampled(torch.zeros(50), 5.0, seed=0), torch.arange(50))


def test_a_third_of_the_minutes_makes_gaussians(monkeypatch):
    clock, each = [0.0], 0.5
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def splat(few: Views) -> None:
        clock[0] += each * few.images.shape[1]

    trial = each * sum(seeds.TIMED)
    assert affordable(views(200), 1.0, 0.0, splat) == int((60 - trial) / 3 / each)
    assert affordable(views(200), 1.0, 30.0, splat) == int((30 - trial) / 3 / each)
    assert len(choose_seeds(views(200), GOOD, affordable(views(200), 1.0, 30.0, splat))) == 17
    assert len(choose_seeds(views(200), GOOD, affordable(views(200), 0.01, 0.0, splat))) == seeds.FEWEST

"""Leaving Gaussians out: of few photos only, fair in the mean, and what lies behind learns."""

from dataclasses import replace

import pytest
import torch
from scenes import cameras_at
from torch.testing import assert_close

from geometry.views import Views
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize
from nvs.refine import Rates, optimise, refine
from nvs.refine.dropping import dropped_share, without_some


def layers(count=400):
    """A red blob before a blue one, both opaque, ``count`` times: N = 2 x count."""
    z = torch.tensor([2.0, 3.0]).repeat(count)
    means = torch.stack((torch.zeros_like(z), torch.zeros_like(z), z), dim=-1)[None]
    colours = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).repeat(count, 1)
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, 2 * count, 4).contiguous(),
        scales=torch.full((1, 2 * count, 3), 20.0),
        opacities=torch.full((1, 2 * count), 0.999),
        sh=rgb_to_sh(colours)[None, :, None],
    )


def test_the_fewer_the_photos_the_more_is_left_out():
    shares = [dropped_share(n, 0.5) for n in (1, 3, 4, 6, 7, 40)]
    assert shares == pytest.approx([0.4, 0.4, 0.3, 0.1, 0.0, 0.0])
    assert dropped_share(3, 0.95) == 0


def test_opacity_stays_the_same_in_the_mean():
    gaussians = replace(layers(5000), opacities=torch.full((1, 10000), 0.3))
    drawn = without_some(gaussians, 0.4, torch.Generator().manual_seed(0)).opacities
    assert_close(drawn.unique(), torch.tensor([0.0, 0.5]))
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)
    opaque = without_some(layers(), 0.4, torch.Generator().manual_seed(0)).opacities
    assert_close(opaque.max(), torch.tensor(0.999))


def test_a_photo_teaches_what_lies_behind(monkeypatch):
    """Of one photo, once the blob in front is left out; of many, hardly."""
    gaussians, drawn = layers(1), []  # the one in front is opaque

    def recorded(gaussians, *given, **options):
        gaussians.sh.retain_grad()
        drawn.append(gaussians.sh)
        return rasterize(gaussians, *given, **options)

    monkeypatch.setattr(optimise, "rasterize", recorded)
    views = Views(
        images=torch.zeros(1, 1, 3, 16, 16), cameras=cameras_at([(0.0, 0.0, 0.0)], (8.0, 8.0), (8.0, 8.0))
    )

    def blue_of_hidden():
        drawn.clear()
        refine(gaussians, views, steps=12, rates=Rates(means=0.0, opacities=0.0))
        return max(float(sh.grad[0, 1, 0, 2]) for sh in drawn)

    few = blue_of_hidden()
    monkeypatch.setattr(optimise, "dropped_share", lambda *_: 0.0)
    assert few > 20 * blue_of_hidden()


def test_the_same_are_left_out_for_the_same_seed():
    gaussians = layers(50)
    first, again, other = (
        without_some(gaussians, 0.4, torch.Generator().manual_seed(seed)).opacities for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

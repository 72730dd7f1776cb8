"""Colours with which pictures come nearer to the photos."""

from dataclasses import replace

import pytest
import torch
from pretended_cuda import pretended_cuda
from scenes import WALL, make_wall
from torch.testing import assert_close

from geometry.views import Views
from nvs.colours import matched_colours
from nvs.gaussians import SH_C0
from nvs.metrics import psnr
from nvs.rasterizer import rasterize

BLACK = torch.zeros(3)


def drawn(gaussians, views, background=BLACK):
    return rasterize(gaussians, views.cameras, WALL, background=background).rgb


@pytest.mark.parametrize("background", [0.0, 0.6])
@pytest.mark.parametrize("degree", [0, 2])
def test_pictures_come_nearer_to_photos(generator, background, degree):
    gaussians, views = make_wall(generator)
    more = (degree + 1) ** 2 - 1
    harmonics = 0.05 * torch.randn(1, gaussians.means.shape[1], more, 3, generator=generator)
    true = replace(gaussians, sh=torch.cat((gaussians.sh[:, :, :1], harmonics), dim=2))
    behind = torch.full((3,), background)
    photos = replace(views, images=drawn(true, views, behind).clamp(0, 1))
    grey = replace(true, sh=torch.cat((0 * true.sh[:, :, :1], harmonics), dim=2))
    ours = matched_colours(grey, photos, background=behind)
    before, after = (psnr(drawn(g, views, behind)[0], photos.images[0]) for g in (grey, ours))
    assert (after > before + 6).all()
    assert torch.equal(ours.sh[:, :, 1:], harmonics)
    assert ours.means is true.means
    same = matched_colours(true, photos, background=behind)  # nothing is missing
    assert_close(same.sh, true.sh, atol=1e-4, rtol=0)


def test_one_gaussian_gets_the_mean_of_its_pixels_in_one_step(generator, monkeypatch):
    monkeypatch.setattr("nvs.colours.STEPS", (1.0,))
    gaussians, views = make_wall(generator)
    alone = gaussians[:, 150:151]
    red = torch.tensor((0.9, 0.2, 0.1))
    weight = rasterize(alone, views.cameras, WALL).alpha  # alpha alone: its blending weight
    assert (weight > 0).any()
    start = 0.5 + SH_C0 * alone.sh[0, 0, 0]
    photos = replace(views, images=(weight[:, :, None] * red[:, None, None]).clamp(0, 1))
    found = 0.5 + SH_C0 * matched_colours(alone, photos, background=BLACK).sh[0, 0, 0]
    by_hand = start + (red - start) * weight.square().sum() / weight.sum()
    assert_close(found, by_hand, atol=1e-4, rtol=1e-4)


def test_what_masks_hide_says_nothing(generator):
    gaussians, views = make_wall(generator)
    other = Views(
        images=1 - views.images,
        cameras=views.cameras,
        mask=torch.zeros(1, views.images.shape[1], *WALL, dtype=torch.bool),
    )
    assert torch.equal(matched_colours(gaussians, other, background=BLACK).sh, gaussians.sh)


@pytest.mark.extended
def test_on_cuda_it_is_the_same_with_photos_that_stay_in_memory(generator):
    gaussians, views = make_wall(generator, n=60)
    photos = replace(views, images=1 - views.images)
    wanted = matched_colours(gaussians, photos, background=BLACK, backend="torch").sh
    with pretended_cuda():
        there = replace(photos, cameras=photos.cameras.to("cuda"))
        found = matched_colours(gaussians.to("cuda"), there, background=BLACK.to("cuda"), backend="torch")
        assert found.sh.is_cuda
        actual = found.sh.to("cpu")
    assert_close(actual, wanted)

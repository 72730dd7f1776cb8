"""Gaussians that photos disagree with become transparent; what nothing competes with stays."""

from dataclasses import replace

import pytest
import torch
from pretended_cuda import pretended_cuda
from scenes import WALL, make_wall
from torch.testing import assert_close

from nvs.agreement import thinned_out
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.metrics import psnr
from nvs.rasterizer import rasterize
from nvs.rasterizer.gather import MOST_ASKED, asked_views, gather


def with_floater(gaussians, colour=(1.0, 0.0, 1.0)):
    more = Gaussians(
        means=torch.tensor([[[0.0, 0.0, 2.0]]]),
        quats=torch.tensor([[[1.0, 0, 0, 0]]]),
        scales=torch.full((1, 1, 3), 0.1),
        opacities=torch.full((1, 1), 0.6),
        sh=rgb_to_sh(torch.tensor(colour))[None, None, None],
    )
    return replace(gaussians, **{k: torch.cat((v, getattr(more, k)), 1) for k, v in vars(gaussians).items()})


def test_sums_of_a_picture_are_those_of_its_blending(generator):
    gaussians, views = make_wall(generator)
    picture = torch.rand(3, *WALL, generator=generator)
    camera = views.cameras[:, :1]
    with torch.inference_mode():
        sums = gather(gaussians, camera, picture, WALL)
        one = torch.zeros(1, 400, 3)
        one[0, 7] = 1
        alone = rasterize(gaussians, camera, WALL, colors=one).rgb[0, 0]
    assert_close(sums[:, 7], (alone * picture).flatten(1).sum(-1))
    mean = gather(gaussians, camera, lambda drawn: drawn / 2, WALL, colors=one[0])
    assert_close(mean[:, 7], (alone * alone / 2).flatten(1).sum(-1))
    assert asked_views(3) == [0, 1, 2]
    many = asked_views(1000)
    assert (len(many), many[0], many[-1]) == (MOST_ASKED, 0, 999)


def test_a_floater_goes_and_the_wall_behind_it_stays(generator):
    gaussians, views = make_wall(generator)
    ours = thinned_out(with_floater(gaussians), views)
    assert ours.opacities[0, -1] < 0.1
    drawn, spoilt = (
        rasterize(g, views.cameras[:, 1:4], WALL).rgb[0, :, :, 9:15, 10:22]  # before which it floats
        for g in (ours, with_floater(gaussians))
    )
    truth = views.images[0, 1:4, :, 9:15, 10:22]
    assert (psnr(drawn, truth) > psnr(spoilt, truth) + 3).all()
    hidden = torch.zeros(1, 5, *WALL, dtype=torch.bool)  # photos that may not be used disagree with nothing
    unsaid = thinned_out(with_floater(gaussians), replace(views, mask=hidden)).opacities
    seen = unsaid > 0
    assert 0.5 < seen.float().mean() < 1
    assert_close(1 - unsaid[seen], (1 - with_floater(gaussians).opacities[seen]).square())


def test_what_no_photo_shows_goes_unless_some_were_not_asked(generator, monkeypatch):
    gaussians, views = make_wall(generator)
    behind = replace(gaussians, means=torch.cat((gaussians.means[:, :-1], torch.tensor([[[0.0, 0, -9]]])), 1))
    assert thinned_out(behind, views).opacities[0, -1] == 0
    assert thinned_out(behind, views, keep_hidden=True).opacities[0, -1] > 0.8
    monkeypatch.setattr("nvs.rasterizer.gather.MOST_ASKED", 3)
    assert thinned_out(behind, views).opacities[0, -1] > 0.8


def test_colours_alone_have_the_gradient_that_they_have_with_all_others(generator):
    gaussians, views = make_wall(generator)
    cameras = views.cameras[:, :2]
    given = torch.rand(1, 400, 3, generator=generator).requires_grad_(True)
    picture = torch.randn(1, 2, 3, *WALL, generator=generator)
    alone, *_ = torch.autograd.grad(
        (rasterize(gaussians, cameras, WALL, colors=given, backend="cpu").rgb * picture).sum(), given
    )
    free = replace(gaussians, means=gaussians.means.clone().requires_grad_(True))
    drawn = rasterize(free, cameras, WALL, colors=given, backend="cpu")
    both, _ = torch.autograd.grad((drawn.rgb * picture).sum(), (given, free.means))
    assert torch.equal(alone, both)
    assert alone.abs().max() > 0


def test_the_more_photos_show_the_same_the_stricter(generator, monkeypatch):
    monkeypatch.setattr("nvs.agreement._HIDDEN", 0.0)
    gaussians, views = make_wall(generator)
    few, some, many, more = (
        thinned_out(with_floater(gaussians, (0.8, 0.4, 0.8)), views, photos=n).opacities[0, -1]
        for n in (4, 8, 32, 500)
    )
    assert_close(few, some)  # no more than 8 photos' Gaussians lie in one picture
    assert many < 0.1 * some
    assert more > 0.5 * many  # there is an end to it


def test_what_nothing_competes_with_stays_however_wrong(generator):
    gaussians, views = make_wall(generator, n=1)
    alone = thinned_out(gaussians, replace(views, images=1 - views.images))
    assert_close(alone.opacities, gaussians.opacities, atol=0.1, rtol=0)


@pytest.mark.extended
def test_on_cuda_it_is_the_same(generator):
    gaussians, views = make_wall(generator, n=60)
    wanted = thinned_out(gaussians, views, backend="torch")
    with pretended_cuda():
        there = thinned_out(gaussians.to("cuda"), views.to("cuda"), backend="torch")
        assert there.opacities.is_cuda
        actual = there.to("cpu")
    assert_close(actual.opacities, wanted.opacities)

"""Refinement: it fits what it is shown, keeps off what it is not, and repeats itself."""

import pytest
import torch

from geometry.errors import InputError
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.metrics import psnr
from nvs.rasterizer import rasterize
from nvs.refine.optimise import Rates, refine, watched_views

SIZE = (24, 32)


def scene(views=6, seed=0):
    """A cloud of coloured blobs, and photos of it from a row of cameras."""
    generator = torch.Generator().manual_seed(seed)
    n = 150
    means = torch.rand(1, n, 3, generator=generator) * torch.tensor([4.0, 3.0, 1.0])
    gaussians = Gaussians(
        means=means - torch.tensor([2.0, 1.5, -4.0]),
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, n, 4).contiguous(),
        scales=torch.full((1, n, 3), 0.15),
        opacities=torch.full((1, n), 0.8),
        sh=rgb_to_sh(torch.rand(1, n, 1, 3, generator=generator)),
    )
    extrinsics = torch.eye(4).repeat(1, views, 1, 1)
    extrinsics[0, :, 0, 3] = torch.linspace(-0.5, 0.5, views)
    K = torch.tensor([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]])
    cameras = Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, views, 3, 3).contiguous())
    return gaussians, Views(images=rasterize(gaussians, cameras, SIZE).rgb, cameras=cameras)


def spoilt(gaussians, seed=1):
    """The same with other colours and places a little off."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(gaussians.means.shape, generator=generator)
    return Gaussians(
        means=gaussians.means + 0.05 * noise,
        quats=gaussians.quats,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        sh=gaussians.sh + 0.5 * noise[..., None, :],
    )


def score(gaussians, photos):
    return psnr(rasterize(gaussians, photos.cameras, SIZE).rgb[0], photos.images[0])


@pytest.fixture(scope="module")
def refined():
    gaussians, photos = scene()
    return refine(spoilt(gaussians), photos, steps=60, finish=0)


def test_photos_are_fitted_and_the_watched_ones_too(refined):
    gaussians, photos = scene()
    gain = score(refined.gaussians, photos) - score(spoilt(gaussians), photos)
    assert (gain > 2).all()
    assert refined.looks[0].step == 0
    assert refined.best_step == max(refined.looks, key=lambda look: look.psnr).step
    shown = score(refined.gaussians, photos)[refined.watched].mean()
    assert abs(float(shown) - max(look.psnr for look in refined.looks)) < 0.1  # clamped there, not here


def test_deterministic_given_the_seed(refined):
    gaussians, photos = scene()
    again = refine(spoilt(gaussians), photos, steps=60, finish=0)
    assert torch.equal(again.gaussians.means, refined.gaussians.means)
    assert torch.equal(again.gaussians.sh, refined.gaussians.sh)
    other = refine(spoilt(gaussians), photos, steps=60, finish=0, seed=5)
    assert not torch.equal(other.gaussians.sh, refined.gaussians.sh)


def test_watched_photos_are_not_trained_on():
    """Whatever they show, what is learnt is the same."""
    gaussians, photos = scene()
    watched = watched_views(6)
    images = photos.images.clone()
    images[:, watched] = 1 - images[:, watched]
    one, other = (
        refine(spoilt(gaussians), Views(images=i, cameras=photos.cameras), steps=10, finish=0)
        for i in (photos.images, images)
    )
    assert one.steps == other.steps == 10
    assert one.looks[-1].psnr != other.looks[-1].psnr
    # The state kept is the watched photos' choice; the states themselves are equal.
    if one.best_step == other.best_step:
        assert torch.equal(one.gaussians.means, other.gaussians.means)


def test_the_last_steps_are_for_all_photos(refined):
    gaussians, photos = scene()
    lines = []
    done = refine(spoilt(gaussians), photos, steps=80, report=lines.append)
    assert done.steps == 80
    assert done.looks[-1].step == 60
    assert "the last 20 on all photos" in lines[-1]
    shown, watched_only = (score(r.gaussians, photos)[refined.watched].mean() for r in (done, refined))
    assert shown > watched_only


def test_stops_when_the_watched_photos_get_worse():
    """Photos of another scene cannot be shown better by learning this one."""
    gaussians, photos = scene()
    watched = watched_views(6)
    start = rasterize(spoilt(gaussians), photos.cameras, SIZE).rgb
    images = photos.images.clone()
    images[:, watched] = start[:, watched]  # perfect at the start: every step is a loss
    done = refine(spoilt(gaussians), Views(images=images.clamp(0, 1), cameras=photos.cameras), steps=200)
    assert done.best_step == 0
    assert done.steps < 100
    torch.testing.assert_close(done.gaussians.means, spoilt(gaussians).means)


def test_a_watched_photo_is_drawn_without_its_own_gaussians():
    """The first look is a rendering of the others' Gaussians alone."""
    gaussians, photos = scene()
    owners = torch.arange(150) % 6
    (view,) = watched_views(6)
    look = refine(gaussians, photos, steps=1, owners=owners).looks[0]
    others = gaussians[:, owners != view]
    shown = rasterize(others, photos.cameras[:, view : view + 1], SIZE).rgb[0].clamp(0, 1)
    assert look.psnr == pytest.approx(float(psnr(shown, photos.images[:, view])), abs=0.01)


def test_cameras_find_back():
    gaussians, photos = scene()
    extrinsics = photos.cameras.extrinsics.clone()
    extrinsics[0, 1:, 1, 3] += 0.05
    off = Views(
        images=photos.images, cameras=Cameras(extrinsics=extrinsics, intrinsics=photos.cameras.intrinsics)
    )
    still = Rates(means=0, scales=0, quats=0, opacities=0, colours=0, harmonics=0, cameras=3e-3)
    done = refine(gaussians, off, steps=100, watch=False, optimise_cameras=True, rates=still)
    assert torch.equal(done.cameras.extrinsics[0, 0], extrinsics[0, 0])
    # A turn does for a small shift what a shift does, so the pictures are compared, not the numbers.
    before, after = (
        score(gaussians, Views(images=photos.images, cameras=c)) for c in (off.cameras, done.cameras)
    )
    assert (after[1:] > before[1:] + 4).all()
    fixed = refine(gaussians, off, steps=2, watch=False)
    assert torch.equal(fixed.cameras.extrinsics, extrinsics)


def test_few_photos_are_all_trained_on():
    assert watched_views(4) == []
    assert watched_views(5) == [2]
    assert watched_views(12) == [3, 9]
    gaussians, photos = scene(views=3)
    done = refine(spoilt(gaussians), photos, steps=12)
    assert done.best_step == done.steps == 12
    assert not done.looks


def test_higher_harmonics_are_kept():
    gaussians, photos = scene()
    sh = torch.cat((gaussians.sh, torch.zeros(1, 150, 3, 3)), dim=-2)
    start = Gaussians(**{**vars(spoilt(gaussians)), "sh": sh})
    done = refine(start, photos, steps=10)
    assert done.gaussians.sh.shape[-2] == 4
    assert done.gaussians.sh[..., 1:, :].abs().max() > 0


def test_refuses_photos_without_cameras():
    gaussians, photos = scene()
    with pytest.raises(InputError, match="cameras"):
        refine(gaussians, Views(images=photos.images), steps=5)
    with pytest.raises(InputError, match="0 steps"):
        refine(gaussians, photos, steps=0)

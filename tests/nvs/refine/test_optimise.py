"""Refinement: it fits what it is shown, repeats itself, and can be ended early."""

from dataclasses import replace

import pytest
import torch
from scenes import cameras_at
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.views import Cameras, Views
from nvs.fusion import fuse, visibility
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.metrics import psnr
from nvs.rasterizer import rasterize
from nvs.refine import Rates, adam, optimise, refine, step_seconds
from nvs.refine.moving import LOOKS, moved

SIZE = (24, 32)


def scene(views=6, seed=0, enlarged=1):
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
    places = [(x, 0.0, 0.0) for x in torch.linspace(0.5, -0.5, views).tolist()]
    cameras = cameras_at(places, (30.0 * enlarged,) * 2, (16.0 * enlarged, 12.0 * enlarged))
    size = (SIZE[0] * enlarged, SIZE[1] * enlarged)
    return gaussians, Views(images=rasterize(gaussians, cameras, size).rgb, cameras=cameras)


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
    return refine(spoilt(gaussians), photos, steps=60)


def test_photos_are_fitted_and_views_between_them_too(refined):
    gaussians, photos = scene()
    between = photos.cameras[:, :5]
    shift = 0.5 * (photos.cameras.extrinsics[:, 1:] + photos.cameras.extrinsics[:, :-1])
    between = Cameras(extrinsics=shift, intrinsics=between.intrinsics)
    unseen = Views(images=rasterize(gaussians, between, SIZE).rgb, cameras=between)
    for views in (photos, unseen):
        gain = score(refined.gaussians, views) - score(spoilt(gaussians), views)
        assert (gain > 2).all()
    # The last round's mean is of the steps on the way: a little below the end's.
    assert refined.psnr == pytest.approx(float(score(refined.gaussians, photos).mean()), abs=1.0)


def test_large_photos_are_learnt_small_first(monkeypatch):
    gaussians, photos = scene(views=2, enlarged=6)  # 144 x 192
    sizes = []

    def recorded(gaussians, cameras, size, **options):
        sizes.append(size)
        return rasterize(gaussians, cameras, size, **options)

    monkeypatch.setattr(optimise, "rasterize", recorded)
    monkeypatch.setattr(optimise, "dropped_share", lambda *_: 0.0)  # so few Gaussians cannot spare any
    done = refine(spoilt(gaussians), photos, steps=50)
    assert sizes == [(72, 96)] * 20 + [(144, 192)] * 30  # ten rounds of two photos
    assert optimise.is_coarse(69, 0.69, 43)
    assert not optimise.is_coarse(69, 0.7, 43)  # of few rounds seven tenths
    small = refine(spoilt(gaussians), photos, steps=14)  # nine of them small: it fits the large photos too
    for made, gain in ((done, 4), (small, 2)):
        drawn = rasterize(made.gaussians, photos.cameras, photos.image_size).rgb[0]
        start = rasterize(spoilt(gaussians), photos.cameras, photos.image_size).rgb[0]
        assert (psnr(drawn, photos.images[0]) - psnr(start, photos.images[0]) > gain).all()


def test_small_ones_grow_within_some_steps():
    gaussians, photos = scene()
    small = replace(gaussians, scales=gaussians.scales / 3)  # a sample of a dense start leaves gaps
    quick, slow = (refine(small, photos, steps=40, rates=rates) for rates in (None, Rates(scales=0.02)))
    assert (score(quick.gaussians, photos) > score(slow.gaussians, photos) + 2).all()
    assert quick.gaussians.scales.median() == pytest.approx(0.15, rel=0.3)


def forty_places():
    """A place for each photo, where no other looks."""
    one, photo = scene(views=1)
    apart = 20.0 * torch.arange(40)
    gaussians = one.map(lambda values: values.repeat(1, 40, *[1] * (values.ndim - 2)))
    gaussians.means[..., 0] += apart.repeat_interleave(150)
    cameras = photo.cameras.map(lambda values: values.repeat(1, 40, 1, 1))
    cameras.extrinsics[..., 0, 3] -= apart
    return gaussians, Views(images=photo.images.repeat(1, 40, 1, 1, 1), cameras=cameras)


@pytest.mark.extended
def test_what_few_of_many_photos_show_is_fitted(monkeypatch):
    gaussians, photos = forty_places()
    start = score(spoilt(gaussians), photos)
    assert score(gaussians, photos).min() > 60
    assert (score(refine(spoilt(gaussians), photos, steps=240).gaussians, photos) > start + 2).all()
    monkeypatch.setattr(adam, "BETAS", (0.9, 0.999))
    assert (score(refine(spoilt(gaussians), photos, steps=240).gaussians, photos) < start + 2).any()


@pytest.mark.extended
def test_a_budget_is_met_on_the_way():
    gaussians, photos = scene()
    haze = replace(gaussians, means=0.7 * gaussians.means, opacities=0.3 * gaussians.opacities)
    haze = replace(haze, scales=1.5 * haze.scales, sh=torch.zeros_like(haze.sh))
    parts = vars(spoilt(gaussians)).items()
    start = Gaussians(**{name: torch.cat((value, getattr(haze, name)), 1) for name, value in parts})
    lines = []
    before = refine(fuse(start, visibility(start, photos.cameras, SIZE), 150), photos, steps=120)
    done = refine(start, photos, steps=120, most=150, report=lines.append)
    assert "refine: step 60 of 120, 300 Gaussians became 150" in lines
    assert done.gaussians.means.shape[1] <= 150
    # What is in the way looks as worthy as the others before it has been learnt to be.
    assert score(done.gaussians, photos).mean() > score(before.gaussians, photos).mean() + 1
    ended = refine(start, photos, steps=120, most=75, most_seconds=0.0)
    assert (ended.steps, ended.gaussians.means.shape[1]) == (0, 75)


def test_a_budget_leaves_what_was_learnt_of_the_photos():
    gaussians, photos = scene()

    def press(line):
        if line.startswith("refine: step 20 of 60") and line.endswith("dB"):
            raise KeyboardInterrupt

    whole, fewer = (
        refine(spoilt(gaussians), photos, steps=60, move=(1, 3), exposure=True, most=most, report=press)
        for most in (None, 75)
    )
    assert fewer.gaussians.means.shape[1] <= 75 < whole.gaussians.means.shape[1]
    assert not torch.equal(fewer.cameras.extrinsics, photos.cameras.extrinsics)
    assert torch.equal(fewer.cameras.extrinsics, whole.cameras.extrinsics)
    assert torch.equal(fewer.exposures, whole.exposures)


def test_ctrl_c_while_they_are_merged_keeps_all(monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(optimise, "fuse", press)
    gaussians, photos = scene()
    lines = []
    done = refine(spoilt(gaussians), photos, steps=20, most=75, report=lines.append)
    assert (done.steps, done.interrupted, done.gaussians.means.shape[1]) == (10, True, 150)
    assert lines[-1].endswith("all 150 are kept")


def test_all_photos_say_what_a_budget_keeps():
    gaussians, photos = forty_places()
    start = spoilt(gaussians)
    done = refine(start, photos, steps=40, most=start.means.shape[1] // 2)
    alpha = rasterize(done.gaussians, photos.cameras, SIZE).alpha
    assert alpha.mean(dim=(0, 2, 3)).min() > 0.5 * alpha.mean()


def test_many_photos_are_learnt_more_slowly():
    assert [optimise.pace(photos) for photos in (1, 24, 96, 1000)] == [1, 1, 0.5, 0.5]
    assert optimise.pace(48) == pytest.approx(0.5**0.5)
    gaussians, photos = forty_places()
    done = refine(spoilt(gaussians), photos, steps=1, exposure=True)  # Adam's first step is a rate
    moved = (done.gaussians.sh - spoilt(gaussians).sh).abs().max()
    assert float(moved) == pytest.approx(Rates().colours * optimise.pace(40), rel=1e-3)
    lit = (done.exposures - torch.eye(3, 4)).abs().max()  # a photo's own is learnt as fast as ever
    assert float(lit) == pytest.approx(Rates().exposures * 39 / 40, rel=1e-3)


@pytest.mark.extended
def test_deterministic_given_the_seed(refined):
    gaussians, photos = scene()
    again = refine(spoilt(gaussians), photos, steps=60)
    assert torch.equal(again.gaussians.means, refined.gaussians.means)
    assert torch.equal(again.gaussians.sh, refined.gaussians.sh)
    other = refine(spoilt(gaussians), photos, steps=60, seed=5)
    assert not torch.equal(other.gaussians.sh, refined.gaussians.sh)


def test_ctrl_c_keeps_what_was_reached():
    gaussians, photos = scene()

    def press(line):
        if line.startswith("refine: step 20 of 60"):
            raise KeyboardInterrupt

    done = refine(spoilt(gaussians), photos, steps=60, report=press)
    assert (done.steps, done.interrupted) == (20, True)
    assert score(done.gaussians, photos).mean() > score(spoilt(gaussians), photos).mean() + 1


def test_it_ends_when_its_time_is_over():
    gaussians, photos = scene()
    lines = []
    done = refine(spoilt(gaussians), photos, steps=10_000, most_seconds=0.2, report=lines.append)
    assert 0 < done.steps < 10_000
    assert not done.interrupted
    assert "time is over" in lines[-1]


def test_a_step_is_timed():
    gaussians, photos = scene()
    assert 0 < step_seconds(gaussians, photos) < 5
    assert torch.equal(gaussians.means, scene()[0].means)  # it leaves them as they are


def test_cameras_find_back():
    gaussians, photos = scene()
    extrinsics = photos.cameras.extrinsics.clone()
    extrinsics[0, 1:, 1, 3] += 0.05
    off = Views(
        images=photos.images, cameras=Cameras(extrinsics=extrinsics, intrinsics=photos.cameras.intrinsics)
    )
    still = Rates(means=0, scales=0, quats=0, opacities=0, colours=0, harmonics=0, cameras=3e-3)
    done = refine(gaussians, off, steps=100, move=range(1, off.images.shape[1]), rates=still)
    assert torch.equal(done.cameras.extrinsics[0, 0], extrinsics[0, 0])
    # A turn does for a small shift what a shift does, so the pictures are compared, not the numbers.
    before, after = (
        score(gaussians, Views(images=photos.images, cameras=c)) for c in (off.cameras, done.cameras)
    )
    assert (after[1:] > before[1:] + 4).all()
    fixed = refine(gaussians, off, steps=2)
    assert torch.equal(fixed.cameras.extrinsics, extrinsics)


@pytest.mark.extended
def test_photos_of_other_exposures_leave_the_mean_photos_colours():
    gaussians, photos = scene()
    balance = torch.tensor([[1.1, 1.0, 0.9], [0.9, 1.0, 1.1]]).repeat(3, 1)
    gains = torch.tensor([0.7, 1.3, 0.8, 1.2, 1.1, 0.9])[:, None] * balance
    gains = gains / gains.mean(dim=0)
    varied = Views(images=photos.images * gains[None, :, :, None, None], cameras=photos.cameras)
    start = spoilt(gaussians)
    with_map, without = (refine(start, varied, steps=240, exposure=e) for e in (True, False))
    ours, theirs = (score(done.gaussians, photos).mean() for done in (with_map, without))
    assert ours > theirs + 2
    assert without.exposures is None
    found = with_map.exposures[:, :, :3].diagonal(dim1=-2, dim2=-1)
    assert_close(with_map.exposures.mean(dim=0), torch.eye(3, 4))
    assert torch.corrcoef(torch.stack((found.flatten(), gains.flatten())))[0, 1] > 0.9


def with_a_figure(photos, view, colour=(1.0, 0.0, 1.0)):
    """The photos, one of them with something that stood before it for a moment."""
    images = photos.images.clone()
    images[0, view, :, 8:18, 12:20] = torch.tensor(colour)[:, None, None]
    return replace(photos, images=images)


@pytest.mark.extended
def test_what_moved_is_left_out():
    gaussians, photos = scene(views=7)
    crowded, where = photos, [1, 3, 5]
    for view in where:
        crowded = with_a_figure(crowded, view)
    lines = []
    left_out, kept = (
        refine(spoilt(gaussians), crowded, steps=180, moving=m, report=lines.append) for m in (True, False)
    )
    ours, theirs = (score(done.gaussians, photos)[where].mean() for done in (left_out, kept))
    assert ours > theirs + 2
    assert (kept.still, kept.moved) == (None, None)
    assert not left_out.still[0, where, 9:17, 13:19].any()
    figures = 3 * 10 * 8 / (7 * SIZE[0] * SIZE[1])
    assert_close(left_out.moved, 1 - left_out.still.float().mean().item())
    assert 0.5 * figures < left_out.moved < 3 * figures
    assert sum("has moved and is left out" in line for line in lines) == len(LOOKS)


def test_given_masks_hold_beside_what_moved():
    gaussians, photos = scene()
    mask = torch.ones(1, 6, *SIZE, dtype=torch.bool)
    mask[0, 2, :, :16] = False
    done = refine(spoilt(gaussians), replace(photos, mask=mask), steps=60, moving=True)
    assert done.moved < 0.02  # what is masked anyway does not count, and nothing else moved
    assert not done.still[~mask].any()


def test_a_part_that_differs_has_moved_if_something_is_known_there():
    photo = torch.rand(3, 80, 120, generator=torch.Generator().manual_seed(0)) * 0.05 + 0.4
    drawn, alpha = photo.clone(), torch.ones(80, 120)
    drawn[:, 30:50, 40:70] += 0.4
    found = moved(drawn, alpha, photo)
    assert found[30:50, 40:70].all()
    assert found.float().mean() < 0.15
    assert not moved(drawn, 0 * alpha, photo).any()
    assert not moved(photo, alpha, photo).any()
    assert not moved(photo + 0.4, alpha, photo).any()  # all of it: not a thing that moved
    assert not moved(torch.where(found, photo + 0.15, photo), alpha, photo).any()  # a shade


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

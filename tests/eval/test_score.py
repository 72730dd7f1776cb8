"""Scores: one definition of SSIM, held against scikit-image and torchmetrics."""

import numpy as np
import pytest
import torch
from scenes import make_arc, views_of
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torchmetrics_ssim

from eval.benchmarks.folder import Captures
from eval.protocols.framing import Framing, framed_image
from eval.sensitivity import ssim_uniform_7, ssim_with_borders
from eval.summary import mean_over_scenes
from nvs.metrics import psnr, ssim

SIZE = (135, 240)


@pytest.fixture(scope="module", params=["room", "fox_phone"])
def photos(request):
    """Two neighbouring photos, drawn or real: a picture, and what it should have been."""
    if request.param == "room":
        return [image[None] for image in views_of(make_arc(9, SIZE)[:2]).images[0]]
    frames = Captures(request.getfixturevalue("captures_dir") / request.param).read(request.param).frames[:2]
    return [framed_image(frame, Framing(size=SIZE), SIZE) for frame in frames]


def as_array(image):
    return image[0].movedim(0, -1).double().numpy()


def test_psnr_and_ssim_equal_scikit_image_on_real_photos(photos):
    picture, photo = map(as_array, photos)
    assert float(psnr(*photos)) == pytest.approx(
        peak_signal_noise_ratio(photo, picture, data_range=1), abs=1e-4
    )
    theirs = structural_similarity(
        photo,
        picture,
        data_range=1,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert float(ssim(*photos)) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.extended
def test_torchmetrics_agrees_but_for_its_borders(photos):
    """Its mean takes in positions where the window hangs over the border; inside them it is ours."""
    picture, photo = (image.double() for image in photos)
    assert float(psnr(picture, photo)) == pytest.approx(
        float(torchmetrics_psnr(picture, photo, data_range=1.0)), abs=1e-5
    )
    mean, full = torchmetrics_ssim(picture, photo, data_range=1.0, return_full_image=True)
    inside = full[..., 5:-5, 5:-5].mean()
    assert float(ssim(picture, photo)) == pytest.approx(float(inside), abs=1e-5)
    assert abs(float(mean) - float(inside)) > 1e-4
    assert float(ssim_with_borders(picture, photo)[0]) == pytest.approx(float(full.mean()), abs=1e-9)


def test_other_ssim_window_is_scikit_images_default_inside(photos):
    picture, photo = map(as_array, photos)
    _, full = structural_similarity(
        photo, picture, data_range=1, channel_axis=-1, use_sample_covariance=False, full=True
    )
    _, theirs = torchmetrics_ssim(
        *(image.double() for image in photos),
        data_range=1.0,
        gaussian_kernel=False,
        kernel_size=7,
        return_full_image=True,
    )
    np.testing.assert_allclose(as_array(theirs)[3:-3, 3:-3], full[3:-3, 3:-3], atol=1e-6)
    assert float(ssim_uniform_7(*photos)[0]) == pytest.approx(float(theirs.mean()), abs=1e-6)


def test_means_are_over_images_then_over_scenes():
    scenes = [{"means": {"psnr": value, "ssim": None}, "reasons": {"ssim": "why"}} for value in (10.0, 20.0)]
    assert mean_over_scenes(scenes) == ({"psnr": 15.0, "ssim": None}, {"ssim": "why"})
    scenes[1]["means"]["ssim"] = 0.5  # one scene without it leaves the mean missing
    assert mean_over_scenes(scenes)[0]["ssim"] is None


def test_equal_images_have_ssim_one():
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert float(ssim(image, image)) == pytest.approx(1.0)

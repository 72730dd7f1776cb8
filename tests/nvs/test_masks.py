"""Something that moves through a capture, with and without masks: what it does to Gaussians and to scores."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import make_arc, names_of, save, write_capture
from torch.testing import assert_close

import nvs
from geometry.views import Views
from nvs.gaussians import sh_to_rgb
from nvs.metrics import Scores, psnr, ssim
from nvs.model.pooling import whole_cells
from nvs.refine import refine
from nvs.stereo import sweep_depth

SIZE, PHOTOS = (54, 96), 9
PAINT = (255, 0, 255)


def block(view):
    """Where the moving thing is: it goes through the picture, never at one place of the room."""
    keep = np.ones(SIZE, bool)
    keep[15:45, 7 + 7 * view : 30 + 7 * view] = False
    return keep


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Photos of the room; the first and the last, which are held out, are without the thing."""
    folder = write_capture(tmp_path_factory.mktemp("capture"), make_arc(PHOTOS, SIZE))
    for view, name in enumerate(names_of(PHOTOS)):
        if view % (PHOTOS - 1):
            pixels = np.asarray(Image.open(folder / "images" / name)).copy()
            pixels[~block(view)] = PAINT
            save(folder / "images" / name, pixels)
            save(folder / "masks" / name, block(view).astype(np.uint8) * 255)
    return folder


@pytest.fixture(scope="module")
def model():
    return nvs.load()


DRAFT = {"process_res": 98, "quality": "draft", "depth": "sweep", "prune": False}


@pytest.fixture(scope="module")
def scene(capture, model):
    return model.predict(capture, **DRAFT)


@pytest.mark.extended
def test_no_gaussian_comes_from_what_is_masked(capture, model, scene):
    whole = model.predict(capture, masks="none", **DRAFT)
    grid = tuple(whole.depth.shape[-2:])
    assert scene.gaussians.means.shape[1] == whole_cells(scene.views.mask, grid).sum()
    assert whole.gaussians.means.shape[1] == whole.depth.numel()

    def painted(scene):
        colours = sh_to_rgb(scene.gaussians.sh[0, :, 0])
        return int(((colours - torch.tensor(PAINT) / 255).abs().amax(-1) < 0.1).sum())

    assert painted(scene) == 0
    assert painted(whole) > 300
    assert_close(scene.background, scene.views.mean_colour()[0])
    assert scene.background[1] > whole.background[1] + 0.05


@pytest.mark.slow
def test_held_out_photos_are_met_better_with_masks(capture, tmp_path):
    scores = {}
    for masks in (None, "none"):
        out = tmp_path / str(masks)
        more = {"process_res": 98, "frames": 1, "size": SIZE, "refine": 300, "holdout": PHOTOS - 1}
        nvs.render(capture, out, masks=masks, **more)
        scores[masks] = json.loads((out / "metrics.json").read_text())["psnr"]
    print(scores)
    assert scores[None] > scores["none"] + 2


def test_refinement_does_not_look_where_the_mask_hides(scene):
    hidden = ~scene.views.mask[0, :, None].expand(-1, 3, -1, -1)
    black = scene.views.images.masked_fill(hidden[None], 0.0)

    def refined(images, mask):
        done = refine(scene.gaussians, Views(images=images, cameras=scene.cameras, mask=mask), steps=14)
        return done.psnr, done.gaussians.render(scene.cameras, scene.image_size).rgb[0][hidden].mean().item()

    (ours, lit), (theirs, as_lit) = (refined(i, scene.views.mask) for i in (scene.views.images, black))
    assert ours == pytest.approx(theirs, abs=0.1)  # windows of SSIM beside what is hidden reach into it
    assert lit == pytest.approx(as_lit, abs=0.005)
    lost, dark = refined(black, None)
    assert lost < ours - 1
    assert dark < lit - 0.008


def test_swept_depth_is_trusted_beside_masks_only(scene):
    swept = sweep_depth(scene.views, (28, 49))
    assert not (swept.trusted & ~swept.mask).any()
    assert swept.trusted_share == pytest.approx(float(swept.trusted[swept.mask].float().mean()))


def test_scores_count_what_is_not_masked(generator):
    photo = torch.rand(1, 3, 40, 50, generator=generator)
    mask = torch.ones(1, 40, 50, dtype=torch.bool)
    mask[:, :20] = False
    wrong = photo.clone()
    wrong[:, :, :20] = 0.5
    off = wrong + 0.1 * mask[:, None]
    assert psnr(wrong, photo, mask).isinf()
    assert_close(psnr(off, photo, mask), torch.tensor([20.0]), atol=1e-3, rtol=0)
    assert_close(ssim(wrong, photo, mask), torch.ones(1))
    assert ssim(off, photo, mask) < 0.999
    scores = Scores(("psnr", "ssim"))
    scores.add(off.clamp(0, 1), photo, mask)
    scores.add(off.clamp(0, 1), photo, torch.ones_like(mask))
    masked, whole = scores.per_image["psnr"]
    assert masked > whole + 3

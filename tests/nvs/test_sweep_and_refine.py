"""The functions that a benchmark calls: real views from posed photos, with and without the bundled model."""

import pytest
import torch

from geometry.errors import InputError
from geometry.views import Views
from geometry.weights import checkpoints
from geometry.worlds import ProceduralDataset
from nvs import sweep_and_refine
from nvs.metrics import psnr
from nvs.sweep_and_refine import novel_views, novel_views_tiny

SIZE = (70, 98)


@pytest.fixture(scope="module")
def capture():
    """Five posed context views of a room, and a view between them."""
    world = ProceduralDataset(5, photometry=0.0, texture_size=64, kinds=["room"])
    sample = world.sample(0, n_views=6, image_size=SIZE, path="slide")
    images, cameras = sample.views.images, sample.truth.cameras
    rest = [0, 1, 2, 4, 5]
    return Views(images=images[:, rest], cameras=cameras[:, rest]), cameras[:, 3:4], images[:, 3:4]


@pytest.mark.parametrize("method", [novel_views, novel_views_tiny])
def test_a_view_between_the_photos_is_better_than_their_mean_colour(method, capture):
    context, target, truth = capture
    if method is novel_views_tiny and not (checkpoints.BUNDLED / "tiny.safetensors").is_file():
        pytest.skip("the bundled model's file is not here")
    views = method(context, target, SIZE, steps=0)
    assert views.shape == (1, 1, 3, *SIZE)
    flat = context.images.mean(dim=(0, 1, 3, 4))[:, None, None].expand_as(truth)
    assert psnr(views[0], truth[0]).mean() > psnr(flat[0], truth[0]).mean() + 3


def test_refined_views_can_be_asked_for_with_a_head(capture):
    context, target, _ = capture
    if not (checkpoints.BUNDLED / "tiny.safetensors").is_file():
        pytest.skip("the bundled model's file is not here")
    assert torch.isfinite(novel_views_tiny(context, target, SIZE, steps=4)).all()


def test_a_missing_model_is_named(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "BUNDLED", tmp_path)
    sweep_and_refine.bundled_splatter.cache_clear()
    context, target, _ = capture
    with pytest.raises(InputError, match="tiny"):
        novel_views_tiny(context, target, SIZE)
    sweep_and_refine.bundled_splatter.cache_clear()

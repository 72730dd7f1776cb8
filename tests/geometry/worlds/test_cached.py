"""Prepared worlds: which image sizes they give."""

import pytest
import torch

from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.virtual_cameras import VirtualCameras
from geometry.worlds import ProceduralDataset
from geometry.worlds.cached import PreparedWorlds


def request(size):
    return SampleRequest(index=0, number=0, step=0, seed=5, image_size=size, views=2)


def prepared(**virtual):
    world = ProceduralDataset(3, photometry=0.0, texture_size=64, kinds=["room"])
    return PreparedWorlds(world, worlds=1, photos=3, image_size=(28, 42), **virtual)


def test_virtual_cameras_give_any_size_with_square_pixels():
    worlds = prepared(photo_size=(56, 56), virtual=VirtualCameras(zoom=(1.0, 1.2)))
    for size in ((28, 42), (42, 28)):
        sample = worlds[request(size)]
        assert sample.views.images.shape == (1, 2, 3, *size)
        assert sample.truth.depth.shape == (1, 2, *size)
        K = sample.truth.cameras.intrinsics
        torch.testing.assert_close(K[..., 0, 0], K[..., 1, 1])
        assert sample.truth.valid.float().mean() > 0.9


def test_plain_photos_have_their_one_size():
    with pytest.raises(InputError, match=r"are \(28, 42\) pixels, got \(42, 28\)"):
        prepared()[request((42, 28))]


def test_larger_photos_without_virtual_cameras_are_refused():
    with pytest.raises(InputError, match="expected virtual cameras with a photo_size"):
        prepared(photo_size=(56, 56))

"""Procedural samples answer requests, alone and mixed with scenes from disk."""

import pytest
import torch
from scenes import make_room, scene_of

from geometry.datasets.sources import SceneSource
from geometry.engine import DataStream, FixedBatchSampler
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import DatasetMixture, Mixture, Part
from geometry.worlds import ProceduralDataset
from geometry.worlds.samples import ProceduralSamples


class Room(SceneSource):
    names = ("room",)

    def read(self, name):
        return scene_of(make_room(4), metric=True)


@pytest.fixture(scope="module")
def world():
    return ProceduralDataset(0, texture_size=64)


def test_requests_decide_views_and_size(world):
    request = SampleRequest(index=7, number=7, step=0, seed=1, image_size=(14, 28), views=2)
    sample = ProceduralSamples(world)[request]
    assert sample.views.images.shape == (1, 2, 3, 14, 28)
    assert torch.equal(sample.views.images, ProceduralSamples(world)[request].views.images)
    with pytest.raises(InputError, match="expected an image size"):
        ProceduralSamples(world)[3]


def test_mixed_with_scenes_in_one_batch(world):
    """Labels that only some sets have are dropped, so that any samples can share a batch."""
    scenes = SamplingDataset(Mixture({"room": Part(source=Room())}))
    mixed = DatasetMixture({"a": scenes, "b": ProceduralSamples(world)}, {"a": 1.0, "b": 1.0})
    stream = DataStream(mixed, FixedBatchSampler(batch_size=8, image_size=(14, 28), views=2))
    steps = stream.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    batch = next(iter(steps))[0][1]
    assert batch.views.images.shape == (8, 2, 3, 14, 28)
    assert batch.truth.sky is None
    kept = DatasetMixture({"b": ProceduralSamples(world)}, {"b": 1.0}, labels=("sky",))
    sample = kept[SampleRequest(index=0, number=0, step=0, seed=1, image_size=(14, 28), views=2)]
    assert sample.truth.sky is not None
    assert sample.truth.objects is None

"""Samples depend on (seed, index) only and keep the conventions of `Example`."""

import pytest
import torch
from programs import Program

from geometry.tensors import collate
from geometry.worlds import KINDS, ProceduralDataset, procedural_world
from geometry.worlds.photometry import develop, photograph

SHAPE = {"n_views": 3, "image_size": (28, 42)}


def digest(example) -> list[float]:
    return [float(example.views.images.double().sum()), float(example.truth.depth.double().sum())]


@pytest.mark.extended
def test_a_sample_is_the_same_in_any_order_and_in_another_process(tmp_path):
    dataset = ProceduralDataset(5, texture_size=64)
    later, first = dataset.sample(3, **SHAPE), dataset.sample(0, **SHAPE)
    again = ProceduralDataset(5, texture_size=64).sample(3, **SHAPE)
    assert torch.equal(later.views.images, again.views.images)
    assert torch.equal(later.truth.depth, again.truth.depth)
    assert digest(first) != digest(later)
    program = (
        "import torch; torch.set_num_threads(1)\n"
        "from geometry.worlds import ProceduralDataset\n"
        f"e = ProceduralDataset(5, texture_size=64).sample(3, **{SHAPE})\n"
        "print(float(e.views.images.double().sum()), float(e.truth.depth.double().sum()))"
    )
    (tmp_path / "sums.py").write_text(program)
    other = Program([tmp_path / "sums.py"], tmp_path / "said.txt")
    assert other.wait() == 0, other.said
    assert [float(value) for value in other.said.split()] == digest(later)


def test_examples_are_whole():
    dataset = ProceduralDataset(1, texture_size=64, kinds=["outdoor", "objects"])
    for index in range(3):
        example = dataset.sample(index, **SHAPE)
        images, truth = example.views.images, example.truth
        assert images.shape == (1, 3, 3, 28, 42)
        assert truth.depth.shape == images.shape[:2] + images.shape[3:]
        assert images.min() >= 0
        assert images.max() <= 1
        assert torch.isfinite(truth.depth).all()
        assert torch.equal(truth.valid, truth.depth > 0)
        assert not (truth.sky & truth.valid).any()
        assert truth.metric.tolist() == [dataset.world(index).name == "outdoor"]
        assert 0.05 < images.mean() < 0.95
        assert images.std() > 0.03
    fixed = [dataset.sample(i, n_views=2, image_size=(28, 28)) for i in range(2)]
    assert collate(fixed).views.images.shape == (2, 2, 3, 28, 28)


def test_samples_may_share_a_world():
    dataset = ProceduralDataset(2, texture_size=64, samples_per_world=2)
    a, b = (dataset.sample(index, **SHAPE) for index in (0, 1))
    assert dataset.world(0) is dataset.world(0)
    assert not torch.equal(a.truth.cameras.extrinsics[:, :1], b.truth.cameras.extrinsics[:, :1])


@pytest.mark.extended
@pytest.mark.parametrize("kind", KINDS)
def test_worlds_of_every_kind_differ_by_seed_and_repeat(kind):
    one, again, other = (procedural_world(seed, kind, texture_size=64) for seed in (8, 8, 9))
    assert torch.equal(one.textures, again.textures)
    assert torch.equal(one.centre, again.centre)
    assert one.air[10] == again.air[10]
    assert one.name == kind
    assert one.centre.shape != other.centre.shape or not torch.equal(one.centre, other.centre)


def test_developing_is_srgb_below_the_knee_and_never_clips_hard():
    grey = torch.tensor([0.0, 0.001, 0.2140, 0.5, 1.0, 5.0]).expand(3, 6)[:, None]
    picture = develop(grey)[0, 0]
    assert abs(picture[2] - 0.5) < 1e-3  # sRGB: 0.2140 linear is half-way
    assert (picture.diff() > 0).all()
    assert picture[-1] <= 1


def test_photographs_differ_from_clean_pictures_but_not_by_much():
    light = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 0.5
    clean = photograph(light, torch.Generator().manual_seed(1), strength=0.0)
    photo = photograph(light, torch.Generator().manual_seed(1))
    assert 0.005 < (clean - photo).abs().mean() < 0.25
    assert torch.equal(photo, photograph(light, torch.Generator().manual_seed(1)))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="samples_per_world must be at least 1"):
        ProceduralDataset(0, samples_per_world=0)
    with pytest.raises(ValueError, match="power of two"):
        procedural_world(0, texture_size=100)
    with pytest.raises(ValueError, match="'moon'"):
        procedural_world(0, "moon")

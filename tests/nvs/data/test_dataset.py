"""Context and targets live in one world; samples are functions of their seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geometry.datasets.sources import SceneSource
from geometry.engine import DataStream, FixedBatchSampler
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.sampling.mixture import Mixture, Part
from geometry.scenes.scene import Frame, Scene
from geometry.training.labels import TeacherLabels, label_path, write_label
from nvs.data.dataset import NovelViewDataset


class Wall(SceneSource):
    """Cameras before a wall at z = 4, each marking by its colour where it stands."""

    names = ("wall",)

    def read(self, name):
        frames = []
        for i in range(12):
            E = np.eye(4)
            E[0, 3] = -0.1 * i
            K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
            frames.append(
                Frame(
                    name=f"{i}",
                    image=lambda i=i: np.full((48, 64, 3), 10 * i, np.uint8),
                    image_size=(48, 64),
                    extrinsics=E,
                    intrinsics=K,
                    depth=lambda: np.full((48, 64), 4.0),
                )
            )
        return Scene(name=name, frames=tuple(frames))


def dataset(**options):
    return NovelViewDataset(
        Mixture({"wall": Part(source=Wall())}), image_size=(28, 42), context=3, targets=2, **options
    )


def places(example):
    """Where each view stands along x, from its colour and from its pose."""
    colour = (example.views.images[0].mean((1, 2, 3)) * 255 / 10).numpy()
    pose = (-example.truth.cameras.extrinsics[0, :, 0, 3] / 0.1).numpy()
    return colour, pose


@pytest.mark.parametrize("seed", range(4))
def test_one_world(seed):
    example = dataset()[SampleRequest(index=0, number=0, step=0, seed=seed)]
    assert example.context.views.images.shape == (1, 3, 3, 28, 42)
    assert example.target.views.images.shape == (1, 2, 3, 28, 42)
    context_colour, context_pose = places(example.context)
    target_colour, target_pose = places(example.target)
    origin = context_colour[0]  # the world is the first context view's
    np.testing.assert_allclose(context_pose, context_colour - origin, atol=1e-3)
    np.testing.assert_allclose(target_pose, target_colour - origin, atol=1e-3)
    assert not set(np.rint(context_colour)) & set(np.rint(target_colour))
    assert example.target.truth.valid.all()


def test_context_covers_and_targets_lie_between():
    """Farthest points of the whole wall: its ends and a middle; near targets are neighbours of those."""
    for seed in range(4):
        request = SampleRequest(index=0, number=0, step=0, seed=seed)
        example = dataset(extent=(1.0, 1.0), far=0.0)[request]
        assert {0, 11} < set(np.rint(places(example.context)[0]))


def test_flips_keep_one_world():
    example = dataset(geometric=GeometricAugmentation(flip=1.0))[0]
    for half in (example.context, example.target):
        colour, pose = places(half)
        np.testing.assert_allclose(pose, -(colour - places(example.context)[0][0]), atol=1e-3)


def test_determinism_and_batches():
    one, two = dataset(), dataset()
    assert torch.equal(one[3].target.views.images, two[3].target.views.images)
    stream = DataStream(one, FixedBatchSampler(batch_size=2, image_size=(14, 28), views=4))
    steps = stream.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    batch = next(iter(steps))[0][1]
    assert batch.context.views.images.shape == (2, 4, 3, 14, 28)
    assert batch.target.truth.cameras.extrinsics.shape == (2, 2, 4, 4)


def test_colours_change_alike_or_not_at_all():
    with pytest.raises(InputError, match="per_view false"):
        dataset(photometric=PhotometricAugmentation())
    example = dataset(photometric=PhotometricAugmentation(per_view=False, jitter=1.0))[0]
    assert example.context.views.images.shape[1] == 3


def test_a_teacher_can_bring_the_depth(tmp_path):
    """Labels lie beside the data under the frame's name; a frame without one brings none."""
    labels = TeacherLabels(from_step=5, missing="skip")
    scene = replace(Wall().read("wall"), folder=tmp_path)
    for frame in scene.frames[::2]:
        write_label(label_path(scene, frame, "teacher_depth"), np.full((48, 64), 7.0, np.float32))
    source = Wall()
    source.read = lambda name: scene
    mixture = Mixture({"wall": Part(source=source)})
    samples = NovelViewDataset(mixture, image_size=(28, 42), context=3, targets=2, relabel=labels)
    early, late = (samples[SampleRequest(index=0, number=0, step=s, seed=1)] for s in (4, 5))
    assert torch.equal(early.context.views.images, late.context.views.images)
    assert early.context.truth.valid.all()
    even = torch.from_numpy(np.rint(places(late.context)[0]) % 2 == 0)
    assert torch.equal(late.context.truth.valid[0].flatten(1).all(1), even)
    assert torch.equal(late.context.truth.valid[0].flatten(1).any(1), even)
    measured = early.context.truth.depth[0, even] / 4.0
    torch.testing.assert_close(late.context.truth.depth[0, even] / 7.0, measured, rtol=1e-3, atol=0)


def test_too_few_views():
    with pytest.raises(InputError, match="at least 14 posed views"):
        NovelViewDataset(Mixture({"wall": Part(source=Wall())}), image_size=(28, 42), context=12, targets=2)[
            0
        ]

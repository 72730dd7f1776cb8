"""Records: selecting views."""

import pytest
import torch

from geometry.views import Cameras, Example, Truth, Views


@pytest.fixture
def example():
    B, V, H, W = 2, 3, 4, 5
    cameras = Cameras(extrinsics=torch.rand(B, V, 4, 4), intrinsics=torch.rand(B, V, 3, 3))
    return Example(
        views=Views(images=torch.rand(B, V, 3, H, W)),
        truth=Truth(
            cameras=cameras,
            depth=torch.rand(B, V, H, W),
            valid=torch.rand(B, V, H, W) > 0.5,
            metric=torch.tensor([True, False]),
        ),
    )


def test_views_of_every_scene_are_selected_and_what_scenes_have_once_stays(example):
    some = example[:, [2, 0]]
    assert torch.equal(some.views.images, example.views.images[:, [2, 0]])
    assert torch.equal(some.truth.cameras.intrinsics, example.truth.cameras.intrinsics[:, [2, 0]])
    assert torch.equal(some.truth.valid, example.truth.valid[:, [2, 0]])
    assert torch.equal(some.truth.metric, example.truth.metric)
    assert some.views.cameras is None
    assert some.truth.sky is None


def test_scenes_are_selected(example):
    one = example[1:]
    assert one.truth.metric.tolist() == [False]
    assert one.views.images.shape[:2] == (1, 3)

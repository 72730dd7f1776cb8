"""Photos kept out of the input: where they are placed."""

from types import SimpleNamespace

import torch
from scenes import random_cameras

from geometry.models.da3 import DepthAnything3
from geometry.views import Cameras, Views
from nvs.holdout import place_targets


def test_autocast_for_the_network_does_not_move_the_cameras(generator, monkeypatch):
    options = {"focal": 400.0, "principal": 30.0, "dtype": torch.float32}
    second, context_cameras = (random_cameras(generator, 1, views, **options) for views in (6, 4))
    monkeypatch.setattr("nvs.holdout.predict_geometry", lambda *a, **k: SimpleNamespace(cameras=second))
    context, targets = Views(images=torch.rand(1, 4, 3, 28, 28)), Views(images=torch.rand(1, 2, 3, 28, 28))

    network = object.__new__(DepthAnything3)  # never asked

    def placed() -> Cameras:
        return place_targets(network, context, context_cameras, targets, ["a", "b"], targets).cameras

    wanted = placed()
    with torch.autocast("cpu", torch.bfloat16):
        actual = placed()
    assert torch.equal(actual.extrinsics, wanted.extrinsics)
    assert torch.equal(actual.intrinsics, wanted.intrinsics)

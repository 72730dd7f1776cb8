"""`--precision bfloat16` narrows the backbone, and nothing that comes before or after it."""

import pytest
import torch
from scenes import cameras_at
from torch.testing import assert_close

from geometry.device import precision
from geometry.models.zoo import build
from geometry.predict import predict_geometry
from geometry.views import Views


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("tiny").eval()


def photos(generator, *, posed):
    cameras = cameras_at([(0, 0, 0), (-1, 0, 0), (-2.5, 0, 0)], (50.0, 50.0), (28.0, 21.0))
    images = torch.rand(1, 3, 3, 42, 56, generator=generator)
    return Views(images=images, cameras=cameras if posed else None)


def test_products_are_narrow_inside_and_float32_outside(network, monkeypatch):
    formats = []

    def watch(block, inputs):
        x = inputs[0]
        formats.append((x @ x.mT).dtype)

    for block in network.backbone.blocks:
        monkeypatch.setattr(block, "_forward_pre_hooks", {0: watch})
    with precision("bfloat16", network):
        network(Views(images=torch.rand(1, 1, 3, 14, 14)))
        outside = torch.rand(3, 3) @ torch.rand(3, 3)
    assert set(formats) == {torch.bfloat16}
    assert outside.dtype == torch.float32
    assert network.backbone.compute is None


@pytest.mark.parametrize("posed", [False, True])
def test_what_follows_the_backbone_is_exact(network, posed, generator, monkeypatch):
    """With the backbone's float32 answer put in its place, bfloat16 changes no bit of cameras and depth."""
    views = photos(generator, posed=posed)
    options = {"ray_pose": not posed, "rays": True}
    kept = []
    hook = network.backbone.register_forward_hook(lambda *call: kept.append(call[-1]))
    with precision("float32", network):
        wanted = predict_geometry(network, views, **options)
    hook.remove()
    monkeypatch.setattr("geometry.models.vit.Features", lambda **_: kept[0])
    with precision("bfloat16", network):
        came = predict_geometry(network, views, **options)
    assert_close(came.depth, wanted.depth, rtol=0, atol=0)
    assert_close(came.cameras.extrinsics, wanted.cameras.extrinsics, rtol=0, atol=0)

"""Photos kept out of the input: where they are placed."""

from types import SimpleNamespace

import torch

from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.views import Cameras, Views
from nvs.holdout import place_targets


def random_cameras(views: int, generator: torch.Generator) -> Cameras:
    quats = torch.nn.functional.normalize(torch.randn(1, views, 4, generator=generator), dim=-1)
    poses = se3.from_rotation_translation(
        matrix_from_quat_xyzw(quats), torch.randn(1, views, 3, generator=generator)
    )
    K = intrinsics_matrix(torch.full((1, views, 2), 400.0), torch.full((1, views, 2), 30.0))
    return Cameras(extrinsics=poses, intrinsics=K)


def test_autocast_for_the_network_does_not_move_the_cameras(generator, monkeypatch):
    second, context_cameras = random_cameras(6, generator), random_cameras(4, generator)
    monkeypatch.setattr("nvs.holdout.predict_geometry", lambda *a, **k: SimpleNamespace(cameras=second))
    context, targets = Views(images=torch.rand(1, 4, 3, 28, 28)), Views(images=torch.rand(1, 2, 3, 28, 28))

    def placed() -> Cameras:
        return place_targets(None, context, context_cameras, targets, ["a", "b"], targets.images).cameras

    wanted = placed()
    with torch.autocast("cpu", torch.bfloat16):
        actual = placed()
    assert torch.equal(actual.extrinsics, wanted.extrinsics)
    assert torch.equal(actual.intrinsics, wanted.intrinsics)

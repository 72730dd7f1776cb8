"""A small sample and a network that knows the truth."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from geometry.models.da3 import DepthAnything3
from geometry.ops.pose_encoding import encode_cameras
from geometry.ops.rays import rays_from_cameras
from geometry.ops.scale import normalise_truth
from geometry.prediction import Geometry
from geometry.tensors import collate
from geometry.worlds import ProceduralDataset
from geometry.worlds.cached import PreparedWorlds

SIZE = (28, 42)


@pytest.fixture(scope="session")
def worlds():
    world = ProceduralDataset(3, photometry=0.0, texture_size=64, kinds=["room"])
    return PreparedWorlds(world, worlds=2, photos=4, image_size=SIZE, views=3)


@pytest.fixture(scope="session")
def batch(worlds):
    return collate([worlds[0], worlds[1]])


class Oracle(DepthAnything3):
    """Answers with the truth in the frame of the reference it was told, at the truth's scale."""

    def __init__(self, truth):
        nn.Module.__init__(self)
        self.truth = truth
        self.seen = []

    def forward(self, views, *, reference=None, chunk=8, rays=True):
        self.seen.append((views, reference))
        B = len(views.images)
        reference = torch.zeros(B, dtype=torch.long) if reference is None else reference
        truth, _ = normalise_truth(self.truth, reference)
        H, W = views.image_size
        ray_map = rays_from_cameras(truth.cameras, (H, W), (H // 14 * 8, W // 14 * 8))
        return Geometry(
            depth=truth.depth,
            depth_conf=torch.ones_like(truth.depth),
            rays=ray_map,
            ray_conf=torch.ones_like(ray_map[..., 0]),
            cameras=truth.cameras,
            pose_encoding=encode_cameras(truth.cameras, (H, W)),
        )


@pytest.fixture
def oracle(batch):
    return Oracle(batch.truth)


@pytest.fixture
def moved(batch):
    """The same sample in another world: turned, moved and three times as large."""
    from geometry.ops import se3
    from geometry.ops.rotations import matrix_from_quat_xyzw

    E = batch.truth.cameras.extrinsics
    turn = matrix_from_quat_xyzw(torch.tensor([0.1, -0.4, 0.2, 0.9]))
    world = se3.from_rotation_translation(turn, torch.tensor([2.0, -1.0, 5.0]))
    E = E.clone()
    E[..., :3, 3] *= 3
    cameras = replace(batch.truth.cameras, extrinsics=E @ world)
    return replace(batch, truth=replace(batch.truth, cameras=cameras, depth=3 * batch.truth.depth))

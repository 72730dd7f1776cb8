"""Context and targets of a procedural world belong to one world and differ."""

import torch

from geometry.worlds import ProceduralDataset
from nvs.data.procedural import ProceduralNovelViews


def test_context_and_targets():
    views = ProceduralNovelViews(
        ProceduralDataset(0, texture_size=64), image_size=(14, 28), context=3, targets=2
    )
    example = views[5]
    assert example.context.views.images.shape == (1, 3, 3, 14, 28)
    assert example.target.views.images.shape == (1, 2, 3, 14, 28)
    poses = torch.cat(
        (example.context.truth.cameras.extrinsics, example.target.truth.cameras.extrinsics), dim=1
    )
    assert len(poses[0].flatten(1).unique(dim=0)) == 5
    assert torch.equal(views[5].target.views.images, example.target.views.images)

"""Another network under the Gaussian head: python examples/own_backbone.py OUT [STEPS].

`Convolutions` is all that the head asks of a network (`nvs.model.backbone.Backbone`): features at four
levels, depth, cameras. Here it is small, knows nothing, and is trained together with the head on one
generated scene; a pretrained network takes its place with `lr_factors={"head": 1}`, which freezes it.
"""

import sys
from functools import partial

import torch
from torch import nn

from geometry.commands.configuration import instantiate
from geometry.engine import Precision, Schedule, fit
from geometry.predict import condition
from geometry.prediction import Geometry
from geometry.views import Views
from nvs.commands import experiment
from nvs.losses import GaussianObjective
from nvs.model.backbone import Encoding
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.parametrisation import GaussianAdapter
from nvs.model.splatter import started_from_photo
from nvs.training.model import TrainableSplatter
from nvs.training.step import GaussianHeadStep

PATCH = 14


class Convolutions(nn.Module):
    """A patch embedding and four convolutions; one depth a patch."""

    feature_width = 64

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, self.feature_width, PATCH, stride=PATCH)
        self.levels = nn.ModuleList(
            nn.Conv2d(self.feature_width, self.feature_width, 3, padding=1) for _ in range(4)
        )
        self.depth = nn.Conv2d(self.feature_width, 1, 1)

    def encode_views(
        self, views: Views, *, reference: object = "", chunk: int = 8, rays: bool = False
    ) -> Encoding:
        B, V, _, H, W = views.images.shape
        x, patches = self.embed(views.images.flatten(0, 1)), []
        for level in self.levels:
            x = x + level(x).relu()
            patches.append(x.flatten(2).mT.unflatten(0, (B, V)))  # [B, V, T, D]
        depth = nn.functional.interpolate(self.depth(x).exp(), (H, W), mode="bilinear")
        given, world = condition(views.cameras)  # cameras about 1 apart, and the way back to their world
        return Encoding(
            patches=patches,
            grid=(H // PATCH, W // PATCH),
            geometry=Geometry(depth=depth[:, 0].unflatten(0, (B, V)), cameras=given),
            given=given,
            world=world,
        )


def main(out: str, steps: str = "200") -> None:
    torch.manual_seed(0)
    adapter = GaussianAdapter("rgb")
    head = started_from_photo(GaussianDpt(64, (32, 32, 64, 64), 32, raw_channels=adapter.raw_channels))
    model = TrainableSplatter(Convolutions(), head, adapter, lr_factors={"head": 1.0, "network": 1.0})
    data = instantiate(experiment.load_config(["experiment=nvs/smoke"]).data)  # one generated room
    result = fit(
        GaussianHeadStep(model, GaussianObjective(mse=1.0, lpips=0.0, depth=0.0)),
        data,
        partial(torch.optim.AdamW, lr=2e-3),
        steps=int(steps),
        out=out,
        schedule=Schedule(warmup_steps=5),
        precision=Precision(compute="float32"),
        device="cpu",
        tensorboard=False,
    )
    print(f"trained: {result.checkpoint}")


if __name__ == "__main__":
    main(*sys.argv[1:])

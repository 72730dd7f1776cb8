"""Scenes to samples of context and target views: an endless map-style dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.dataset import SamplingDataset
from geometry.scenes.scene import Scene
from nvs.data.example import NovelViewExample
from nvs.data.splits import context_and_targets


@dataclass(eq=False, kw_only=True)
class NovelViewDataset(SamplingDataset):
    """Samples for training the Gaussian head; each a function of its seed alone.

    A `SamplingDataset` with another choice of views. Colours must change per sample: a target that is
    recoloured in another way than its context cannot be rendered from it.
    """

    context: int | None = None  # number of context views where the request's ``views`` gives none
    targets: int = 4  # number of target views
    extent: Sequence[float] = (0.2, 1.0)  # share of the capture that a sample covers (`nvs.data.splits`)
    far: float = 0.5  # probability that a target is one of the far half
    sparse_depth: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.photometric is not None and self.photometric.per_view:
            raise InputError("photometric: expected per_view false, so that context and targets change alike")
        self.views = self.context

    def choose(self, scene: Scene, views: int, rng: np.random.Generator) -> list[int]:
        given, targets = context_and_targets(
            scene.extrinsics, views, self.targets, rng, extent=(self.extent[0], self.extent[1]), far=self.far
        )
        return [*given, *targets]

    def sample(  # type: ignore[override]
        self, request: SampleRequest, image_size: tuple[int, int], views: int
    ) -> NovelViewExample:
        example = super().sample(request, image_size, views)
        return NovelViewExample(context=example[:, :views], target=example[:, views:])

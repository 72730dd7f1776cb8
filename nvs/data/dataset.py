"""Scenes to samples of context and target views: an endless map-style dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.augment import PhotometricAugmentation
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import Mixture
from geometry.scenes.scene import Scene
from nvs.data.example import NovelViewExample, split_example
from nvs.data.splits import context_and_targets


class NovelViewDataset(SamplingDataset):
    """Samples for training the Gaussian head; each a function of its seed alone.

    A `SamplingDataset` with another choice of views. The ``views`` of a request count context views.

    Args:
        mixture: where scenes come from.
        context: number of context views where the request gives none.
        targets: number of target views.
        extent: share of the capture that a sample covers (`nvs.data.splits`).
        far: probability that a target is one of the far half.
        photometric: colour changes, which must be drawn per sample: a target that is recoloured in
            another way than its context cannot be rendered from it; None for none.
        sparse_depth: use observed sparse points as depth where a frame has no depth map.
        others: image_size, geometric, relabel, skip_broken and seed, as of `SamplingDataset`.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        context: int | None = None,
        targets: int = 4,
        extent: Sequence[float] = (0.2, 1.0),
        far: float = 0.5,
        photometric: PhotometricAugmentation | None = None,
        sparse_depth: bool = False,
        **others: Any,
    ) -> None:
        if photometric is not None and photometric.per_view:
            raise InputError("photometric: expected per_view false, so that context and targets change alike")
        super().__init__(mixture, views=context, photometric=photometric, sparse_depth=sparse_depth, **others)
        self.targets = targets
        self.extent, self.far = (float(extent[0]), float(extent[1])), far

    def choose(self, scene: Scene, views: int, rng: np.random.Generator) -> list[int]:
        given, targets = context_and_targets(
            scene.extrinsics, views, self.targets, rng, extent=self.extent, far=self.far
        )
        return [*given, *targets]

    def sample(self, request: SampleRequest) -> NovelViewExample:  # type: ignore[override]
        return split_example(super().sample(request), request.views)

"""Scenes to samples of context and target views: an endless map-style dataset."""

from collections.abc import Callable, Sequence

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.assemble import assemble
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.sampling.dataset import draw_sample, plain_request, recolour
from geometry.sampling.mixture import Mixture
from geometry.scenes.scene import Scene
from geometry.tensors import collate
from geometry.views import Example
from nvs.data.example import NovelViewExample, split_example
from nvs.data.splits import context_and_targets


class NovelViewDataset:
    """Samples for training the Gaussian head; each a function of its seed alone.

    ``dataset[request]`` with the engine's `SampleRequest`, whose ``views`` counts context views, or
    ``dataset[i]``. A scene with too few views is passed over for another one.

    Args:
        mixture: where scenes come from.
        image_size: (H, W) where the request gives none.
        context: number of context views where the request gives none.
        targets: number of target views.
        extent: share of the capture that a sample covers (`nvs.data.splits`).
        far: probability that a target is one of the far half.
        geometric: zoom, shift, flips; alike for all views of a sample; None for none.
        photometric: colour changes, which must be drawn per sample: a target that is recoloured in
            another way than its context cannot be rendered from it; None for none.
        sparse_depth: use observed sparse points as depth where a frame has no depth map.
        relabel: called with the chosen views' scene and the training step; returns the scene with other
            depth, for example a teacher's (`geometry.training.labels.TeacherLabels`).
        skip_broken: pass over scenes with damaged files, with a warning, instead of stopping.
        seed: for ``dataset[i]`` with a plain number.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        mixture: Mixture,
        *,
        image_size: Sequence[int] | None = None,
        context: int | None = None,
        targets: int = 4,
        extent: Sequence[float] = (0.2, 1.0),
        far: float = 0.5,
        geometric: GeometricAugmentation | None = None,
        photometric: PhotometricAugmentation | None = None,
        sparse_depth: bool = False,
        relabel: Callable[[Scene, int], Scene] | None = None,
        skip_broken: bool = False,
        seed: int = 0,
    ) -> None:
        if photometric is not None and photometric.per_view:
            raise InputError("photometric: expected per_view false, so that context and targets change alike")
        self.mixture = mixture
        self.image_size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
        self.context, self.targets = context, targets
        self.extent, self.far = (float(extent[0]), float(extent[1])), far
        self.geometric = geometric or GeometricAugmentation()
        self.photometric = photometric
        self.sparse_depth = sparse_depth
        self.relabel = relabel
        self.skip_broken = skip_broken
        self.seed = seed

    def __getitem__(self, request: SampleRequest | int) -> NovelViewExample:
        request = plain_request(request, self.seed)
        image_size, context = request.image_size or self.image_size, request.views or self.context
        if image_size is None or context is None:
            raise InputError(
                "sampling: expected an image size and a number of context views, neither request nor dataset "
                "has them"
            )

        def make(scene: Scene, without_sky: bool, rng: np.random.Generator) -> Example:
            given, targets = context_and_targets(
                scene.extrinsics, context, self.targets, rng, extent=self.extent, far=self.far
            )
            scene = scene.select([*given, *targets])
            if self.relabel is not None:
                scene = self.relabel(scene, request.step)
            return assemble(
                scene,
                range(len(scene)),
                image_size,
                rng=rng,
                augmentation=self.geometric,
                sparse_depth=self.sparse_depth,
                without_sky=without_sky,
            )

        needed = context + self.targets
        sample = draw_sample(self.mixture, request.seed, needed, make, skip_broken=self.skip_broken)
        return split_example(recolour(sample, self.photometric, request.seed), context)

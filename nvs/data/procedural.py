"""Context and target views of the procedural world."""

from collections.abc import Sequence

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.sampling.dataset import plain_request
from geometry.tensors import collate
from geometry.worlds import ProceduralDataset
from geometry.worlds.samples import ProceduralSamples
from nvs.data.example import NovelViewExample
from nvs.data.splits import context_and_targets


class ProceduralNovelViews:
    """A world and a camera path for each request; context views cover the path, targets lie between.

    Args:
        world: what worlds and photos look like; its ``views`` and ``image_size`` are not used.
        image_size: (H, W) where the request gives none.
        context: number of context views where the request gives none.
        targets: number of target views.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        world: ProceduralDataset,
        *,
        image_size: Sequence[int] | None = None,
        context: int | None = None,
        targets: int = 4,
    ) -> None:
        self.samples = ProceduralSamples(world, image_size=image_size)
        self.context, self.targets = context, targets

    def __getitem__(self, request: SampleRequest | int) -> NovelViewExample:
        request = plain_request(request, self.samples.world.seed)
        image_size, context = request.image_size or self.samples.image_size, request.views or self.context
        if image_size is None or context is None:
            raise InputError(
                "procedural: expected an image size and a number of context views, neither is given"
            )
        example = self.samples.world.sample(
            request.number % len(self.samples.world), n_views=context + self.targets, image_size=image_size
        )
        rng = np.random.default_rng(derive_seed(request.seed, "context"))
        extrinsics = example.truth.cameras.extrinsics[0].double().cpu().numpy()
        given, rest = context_and_targets(extrinsics, context, self.targets, rng, extent=(1.0, 1.0))
        return NovelViewExample(context=example[:, list(given)], target=example[:, list(rest)])

"""Context and target views of the procedural world."""

from collections.abc import Sequence

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.sampling.dataset import sized_request
from geometry.tensors import collate
from geometry.worlds import ProceduralDataset
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
        self.world, self.image_size = world, image_size
        self.context, self.targets = context, targets

    def __getitem__(self, request: SampleRequest | int) -> NovelViewExample:
        request = sized_request(request, self.world.seed, self.image_size, self.context)
        views = request.views + self.targets
        index = request.number % len(self.world)
        example = self.world.sample(index, n_views=views, image_size=request.image_size)
        rng = np.random.default_rng(derive_seed(request.seed, "context"))
        extrinsics = example.truth.cameras.extrinsics[0].double().cpu().numpy()
        given, rest = context_and_targets(extrinsics, request.views, self.targets, rng, extent=(1.0, 1.0))
        return NovelViewExample(context=example[:, list(given)], target=example[:, list(rest)])

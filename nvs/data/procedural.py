"""Context and target views of the procedural world."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.sampling.dataset import sized_request
from geometry.tensors import collate
from geometry.worlds import ProceduralDataset
from nvs.data.example import NovelViewExample
from nvs.data.splits import context_and_targets


@dataclass(eq=False)
class ProceduralNovelViews:
    """A world and a camera path for each request; context views cover the path, targets lie between."""

    world: ProceduralDataset  # what worlds and photos look like; not how many views and which size
    _: KW_ONLY
    image_size: Sequence[int] | None = None  # (H, W) where the request gives none
    context: int | None = None  # number of context views where the request gives none
    targets: int = 4  # number of target views

    collate = staticmethod(collate)

    def __getitem__(self, request: SampleRequest | int) -> NovelViewExample:
        request, image_size, views = sized_request(request, self.world.seed, self.image_size, self.context)
        index, together = request.number % len(self.world), views + self.targets
        example = self.world.sample(index, n_views=together, image_size=image_size)
        rng = np.random.default_rng(derive_seed(request.seed, "context"))
        extrinsics = example.truth.cameras.extrinsics[0].double().cpu().numpy()
        given, rest = context_and_targets(extrinsics, views, self.targets, rng, extent=(1.0, 1.0))
        return NovelViewExample(context=example[:, given], target=example[:, rest])

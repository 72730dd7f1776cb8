"""The procedural world as a dataset that answers the engine's requests."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from geometry.engine.notes import note_origin
from geometry.engine.samplers import SampleRequest
from geometry.sampling.dataset import sized_request
from geometry.tensors import collate
from geometry.views import Example
from geometry.worlds.dataset import ProceduralDataset


@dataclass(eq=False)
class ProceduralSamples:
    """Worlds without end: each request gets a world of its own, by its running number."""

    world: ProceduralDataset  # what worlds and photos look like; not how many views and which size
    _: KW_ONLY
    image_size: Sequence[int] | None = None  # (H, W) where the request gives none
    views: int | None = None  # number of views where the request gives none

    collate = staticmethod(collate)

    def __getitem__(self, request: SampleRequest | int) -> Example:
        request, image_size, views = sized_request(request, self.world.seed, self.image_size, self.views)
        index = request.number % len(self.world)
        note_origin(f"procedural world {index}")
        return self.world.sample(index, n_views=views, image_size=image_size)

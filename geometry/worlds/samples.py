"""The procedural world as a dataset that answers the engine's requests."""

from collections.abc import Sequence

from geometry.engine.notes import note_origin
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.dataset import plain_request
from geometry.tensors import collate
from geometry.views import Example
from geometry.worlds.dataset import ProceduralDataset


class ProceduralSamples:
    """Worlds without end: each request gets a world of its own, by its running number.

    Args:
        world: what worlds and photos look like; its ``views`` and ``image_size`` are not used.
        image_size: (H, W) where the request gives none.
        views: number of views where the request gives none.
    """

    collate = staticmethod(collate)

    def __init__(
        self, world: ProceduralDataset, *, image_size: Sequence[int] | None = None, views: int | None = None
    ) -> None:
        self.world = world
        self.image_size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
        self.views = views

    def __getitem__(self, request: SampleRequest | int) -> Example:
        request = plain_request(request, self.world.seed)
        image_size, views = request.image_size or self.image_size, request.views or self.views
        if image_size is None or views is None:
            raise InputError("procedural: expected an image size and a number of views, neither is given")
        note_origin(f"procedural world {request.number % len(self.world)}")
        return self.world.sample(request.number % len(self.world), n_views=views, image_size=image_size)

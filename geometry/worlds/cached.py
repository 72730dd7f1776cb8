"""A few procedural worlds, rendered once and kept in memory: what a short run on a CPU can learn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from geometry.engine.notes import note_origin
from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError
from geometry.sampling.dataset import plain_request
from geometry.sampling.mixture import keep_labels
from geometry.sampling.virtual_cameras import VirtualCameras
from geometry.tensors import collate
from geometry.views import Example
from geometry.worlds.dataset import ProceduralDataset


@dataclass(eq=False)
class PreparedWorlds:
    """Samples of a fixed list of worlds; the views of a sample are drawn anew from a world's photos.

    Rendering happens at the first request. With a length, so that a run reads it in epochs.

    Args:
        world: what worlds and photos look like.
        worlds: how many, from index ``first`` on.
        photos: photos kept of each world, along one camera path.
        image_size: (H, W) of the samples' images; with ``virtual`` a request may have another.
        photo_size: (H, W) of the kept photos, where they are larger than samples: room to turn in.
        virtual: turns and mirrors the photos' cameras, anew for every sample.
        views: views of a sample where the request gives none.
        spread: views are drawn from this many neighbours along the path, so that they overlap; None draws
            from all.
        paths: camera paths, world after world; None leaves them to the world. Wide baselines are learned
            sooner than a pan, which has no translation.
        labels: masks that samples carry, of ``sky`` and ``objects``.
    """

    collate = staticmethod(collate)

    world: ProceduralDataset
    worlds: int
    photos: int
    image_size: Sequence[int]
    first: int = 0  # index of the first world
    views: int = 4
    spread: int | None = None
    paths: Sequence[str] | None = None
    labels: Sequence[str] = ()
    photo_size: Sequence[int] | None = None
    virtual: VirtualCameras | None = None

    def __post_init__(self) -> None:
        if self.photo_size is not None and self.virtual is None:
            raise InputError("prepared worlds: expected virtual cameras with a photo_size, found none")
        H, W = self.image_size
        self.image_size = (H, W)
        self._spread = self.photos if self.spread is None else min(self.spread, self.photos)
        self._kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return self.worlds

    def __getitem__(self, request: SampleRequest | int) -> Example:
        request = plain_request(request, self.world.seed)
        views = request.views or self.views
        image_size = request.image_size or self.image_size
        if self.virtual is None and image_size != self.image_size:
            raise InputError(f"prepared worlds are {self.image_size} pixels, got {image_size}")
        if views > self._spread:
            raise InputError(f"prepared worlds: expected at most {self._spread} views, got {views}")
        photos = self._photos(int(request) % self.worlds)
        rng = np.random.default_rng(request.seed)
        start = int(rng.integers(self.photos - self._spread + 1))
        chosen = torch.from_numpy(start + rng.choice(self._spread, views, replace=False))
        sample = photos[:, chosen]
        note_origin(f"procedural world {self.first + int(request) % self.worlds}: {chosen.tolist()}")
        return sample if self.virtual is None else self.virtual.draw(sample, image_size, rng)

    def _photos(self, index: int) -> Example:
        if index not in self._kept:
            H, W = self.photo_size or self.image_size
            sample = self.world.sample(
                self.first + index,
                n_views=self.photos,
                image_size=(H, W),
                path=self.paths[index % len(self.paths)] if self.paths else None,
            )
            self._kept[index] = keep_labels(sample, self.labels)
        return self._kept[index]

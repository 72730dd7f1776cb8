"""Training samples from the procedural world: sample i depends on (seed, i) and on nothing else."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from geometry.views import Example, Truth, Views
from geometry.worlds.cameras import sample_cameras
from geometry.worlds.generate import METRIC_KINDS, procedural_world
from geometry.worlds.photometry import photograph
from geometry.worlds.rendering import render
from geometry.worlds.world import World


@dataclass(eq=False)
class ProceduralDataset(Dataset):
    """Map-style dataset of worlds seen along one camera path, as `Example` of batch size one.

    Being a function of (seed, index), a sample is the same in any process, in any order and after a
    restart, and a training run resumes by resuming its index. Rendering is on the CPU with torch's number of
    threads (one in a loader's worker).

    Args:
        length: samples before the indices end; any number, since nothing is stored.
        views: least and greatest number of views, or one fixed number.
        image_size: (H, W), one or several of which each sample draws one.
        kinds: kinds of worlds to draw from; all by default.
        paths: camera paths to draw from; all by default.
        photometry: 0 for clean pictures, 1 for the full range of exposure, white balance, noise and blur.
        samples_per_world: how many samples in a row share one world, with other cameras. Building a world
            costs about as much as two views; sharing trades variety for speed.
        texture_size: texels on a side of a material's tile.

    Raises:
        ValueError: empty ranges or sizes.
    """

    seed: int  # worlds and cameras follow from it and the index
    _: KW_ONLY
    length: int = 1_000_000
    views: tuple[int, int] | int = (2, 18)
    image_size: tuple[int, int] | list[tuple[int, int]] = (252, 252)
    kinds: list[str] | None = None
    paths: list[str] | None = None
    photometry: float = 1.0
    samples_per_world: int = 1
    texture_size: int = 256

    def __post_init__(self) -> None:
        self._views = (self.views, self.views) if isinstance(self.views, int) else tuple(self.views)
        if not 1 <= self._views[0] <= self._views[1]:
            raise ValueError(f"views must be a number or a range of at least one view, got {self.views}")
        sizes = [self.image_size] if isinstance(self.image_size[0], int) else self.image_size
        self._sizes = [(int(H), int(W)) for H, W in sizes]
        if min(map(min, self._sizes)) < 8:
            raise ValueError(f"image_size must be at least 8 pixels on a side, got {self.image_size}")
        if self.samples_per_world < 1:
            raise ValueError(f"samples_per_world must be at least 1, got {self.samples_per_world}")
        self._recent: tuple[int, World] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside 0..{self.length - 1}")
        entropy = np.random.SeedSequence((self.seed, index, 1)).generate_state(1, np.uint64)
        rng = np.random.default_rng(entropy)
        n_views = int(rng.integers(self._views[0], self._views[1] + 1))
        image_size = self._sizes[rng.integers(len(self._sizes))]
        path = str(rng.choice(self.paths)) if self.paths else None
        return self.sample(index, n_views=n_views, image_size=image_size, path=path)

    def sample(
        self, index: int, *, n_views: int, image_size: tuple[int, int], path: str | None = None
    ) -> Example:
        """Sample ``index`` with view count and size set by the caller, as token-budget batches need."""
        world = self.world(index // self.samples_per_world)
        state = np.random.SeedSequence((self.seed, index, 2)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
        cameras = sample_cameras(world, n_views, image_size, generator, path)
        seen = render(world, cameras, image_size)
        images = seen.rgb
        if self.photometry > 0:
            images = photograph(seen.radiance[0], generator, strength=self.photometry)[None]
        return Example(
            views=Views(images=images, cameras=cameras),
            truth=Truth(
                cameras=cameras,
                depth=seen.depth,
                valid=~seen.sky,
                metric=torch.tensor([world.name in METRIC_KINDS]),
                sky=seen.sky,
                objects=seen.objects,
            ),
        )

    def world(self, number: int) -> World:
        """World ``number`` of this dataset; the last one is kept for the samples that share it."""
        if self._recent is None or self._recent[0] != number:
            kind = None
            if self.kinds:
                rng = np.random.default_rng(np.random.SeedSequence((self.seed, number, 3)))
                kind = str(rng.choice(self.kinds))
            world = procedural_world((self.seed, number), kind, texture_size=self.texture_size)
            self._recent = (number, world)
        return self._recent[1]

"""Training samples from the procedural world: sample i depends on (seed, i) and on nothing else."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch

from geometry.views import Example, Truth, Views
from geometry.worlds.cameras import sample_cameras
from geometry.worlds.generate import METRIC_KINDS, procedural_world
from geometry.worlds.photometry import photograph
from geometry.worlds.rendering import render
from geometry.worlds.world import World


@dataclass(eq=False)
class ProceduralDataset:
    """Worlds seen along one camera path, as `Example` of batch size one.

    Being a function of (seed, index), a sample is the same in any process, in any order and after a
    restart, and a training run resumes by resuming its index. Rendering is on the CPU with torch's number of
    threads (one in a loader's worker).

    Args:
        length: samples before the indices end; any number, since nothing is stored.
        kinds: kinds of worlds to draw from; all by default.
        photometry: 0 for clean pictures, 1 for the full range of exposure, white balance, noise and blur.
        samples_per_world: how many samples in a row share one world, with other cameras. Building a world
            costs about as much as two views; sharing trades variety for speed.
        texture_size: texels on a side of a material's tile.

    Raises:
        ValueError: fewer than one sample in a world.
    """

    seed: int  # worlds and cameras follow from it and the index
    _: KW_ONLY
    length: int = 1_000_000
    kinds: list[str] | None = None
    photometry: float = 1.0
    samples_per_world: int = 1
    texture_size: int = 256
    overgrown: float = 0.0  # share of worlds with plants and thin things among the others

    def __post_init__(self) -> None:
        if self.samples_per_world < 1:
            raise ValueError(f"samples_per_world must be at least 1, got {self.samples_per_world}")
        self._recent: tuple[int, World] | None = None

    def __len__(self) -> int:
        return self.length

    def sample(
        self, index: int, *, n_views: int, image_size: tuple[int, int], path: str | None = None
    ) -> Example:
        """Sample ``index``: so many views of one size (H, W), along a path that is drawn unless named."""
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
            grown = np.random.default_rng(np.random.SeedSequence((self.seed, number, 4))).random()
            world = procedural_world(
                (self.seed, number),
                kind,
                texture_size=self.texture_size,
                overgrown=bool(grown < self.overgrown),
            )
            self._recent = (number, world)
        return self._recent[1]

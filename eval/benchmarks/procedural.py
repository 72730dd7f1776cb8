"""The procedural world as a benchmark: exact cameras and depth, made when they are read."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from geometry.datasets.sources import SceneSource
from geometry.errors import InputError
from geometry.metrics.surface import Cloud, lifted_points
from geometry.options import WORLD_KINDS, require_one_of
from geometry.scenes.scene import Frame, Scene
from geometry.worlds.cameras import sample_cameras
from geometry.worlds.generate import procedural_world
from geometry.worlds.photometry import photograph
from geometry.worlds.rendering import render


class Procedural(SceneSource):
    """Scenes ``<kind>_<seed>``; the same arguments give the same pixels.

    Args:
        kinds: of `geometry.options.WORLD_KINDS`.
        seeds: one scene for each, of each kind.
        views: photos of each.
        image_size: (H, W).
        path: how the camera moves, of `geometry.options.WORLD_PATHS`.
    """

    def __init__(
        self,
        *,
        kinds: Sequence[str] = ("room",),
        seeds: Sequence[int] = (0, 1, 2, 3, 4),
        views: int = 12,
        image_size: Sequence[int] = (378, 504),
        path: str = "orbit",
        root: Any = None,
    ) -> None:
        for kind in kinds:
            require_one_of("benchmark.source.kinds", kind, WORLD_KINDS)
        if views < 2 or len(image_size) != 2:
            raise InputError(
                f"procedural: expected 2 views or more of [H, W], got {views} of {list(image_size)}"
            )
        self.names = tuple(f"{kind}_{seed}" for kind in kinds for seed in seeds)
        H, W = image_size
        self._views, self._size, self._path = views, (H, W), path

    def surface(self, name: str) -> Cloud:
        """What the photos see of the world: the exact point of every pixel."""
        scene = self.read(name)
        depth = np.stack([frame.depth() for frame in scene.frames if frame.depth is not None])
        return lifted_points(depth, scene.extrinsics, scene.intrinsics)

    def read(self, name: str) -> Scene:
        if name not in self.names:
            raise InputError(f"expected a scene among {', '.join(self.names)}, got {name}")
        kind, _, seed = name.rpartition("_")
        world = procedural_world(int(seed), kind, texture_size=512)
        generator = torch.Generator().manual_seed(int(seed))
        cameras = sample_cameras(world, self._views, self._size, generator, self._path, zoom=False)
        seen = render(world, cameras, self._size)
        photos = photograph(seen.radiance[0], generator, strength=0.5)
        pixels = (photos.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        depth, E = seen.depth[0].numpy(), cameras.extrinsics[0].double().numpy()
        frames = tuple(
            Frame(
                name=f"frame_{v + 1:05d}",
                image=partial(np.asarray, pixels[v]),
                image_size=self._size,
                extrinsics=E[v],
                intrinsics=cameras.intrinsics[0, v].double().numpy(),
                depth=partial(np.asarray, depth[v]),
            )
            for v in range(self._views)
        )
        return Scene(name=name, frames=frames, source=f"procedural world {name}", metric=True)

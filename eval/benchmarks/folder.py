"""Own captures as a benchmark: one folder of photos with poses, or a folder of such folders."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from geometry.console import say
from geometry.datasets.sources import SceneSource, chosen_scenes, existing_folder
from geometry.errors import InputError, PhotoError
from geometry.formats.images import natural_key
from geometry.options import require_one_of
from geometry.sampling.framing import show_map
from geometry.sampling.preprocess import PixelMap, prepare_views
from geometry.scenes.photos import open_photos
from geometry.scenes.scene import Scene
from nvs.stereo import StereoDepth

TRUTH_SIDE = 504  # pixels of the long side at which depth is swept


class Captures(SceneSource):
    """Whatever `open_photos` opens: a COLMAP model or a transforms.json beside its photos.

    Args:
        root: one capture, or a folder that holds one capture per sub-folder.
        scenes: names of sub-folders to take, or a file with one per line; None takes all.
        truth: ``sweep`` gives photos depth by a plane sweep between their cameras, where two views agree:
            what geometry can be judged by where nothing was measured. None takes depth beside the photos.

    Raises:
        InputError: neither the folder nor a folder in it is a capture with poses.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        scenes: str | Path | Sequence[str] | None = None,
        truth: Literal["sweep"] | None = None,
    ) -> None:
        require_one_of("benchmark.source.truth", truth or "sweep", ("sweep",))
        self._sweeps = truth == "sweep"
        self.root = existing_folder(root, "captures")
        self._folders = _captures(self.root)
        self.names = chosen_scenes(sorted(self._folders, key=natural_key), scenes, self.root)

    def read(self, name: str) -> Scene:
        # Splits hold poses and refuse others, so the check of conventions has its place when they are made.
        folder = self._folders[self._require(name, self.root)]
        try:
            scene = open_photos(folder)
        except PhotoError:  # of one that the check looks at; whether it is needed, the run will see
            scene = open_photos(folder, check=False)
        if not scene.posed:
            raise InputError(
                f"{folder}: expected photos with poses (a COLMAP model or a transforms.json), "
                f"got photos alone; nvs render --holdout N measures on those"
            )
        if self._sweeps:
            swept = _Swept(scene)
            frames = tuple(replace(f, depth=partial(swept.depth, i)) for i, f in enumerate(scene.frames))
            scene = replace(scene, frames=frames)
        return replace(scene, name=name)


class _Swept:
    """Depth of a scene's photos by a plane sweep, computed for all when the first is asked for."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._depth: list[np.ndarray] | None = None

    def depth(self, index: int) -> Float[np.ndarray, "h w"]:
        """At the resolution of a photo whose long side is `TRUTH_SIDE`; 0 where views do not agree."""
        if self._depth is None:
            say(f"{self._scene.name}: plane sweep of {len(self._scene)} photos")
            views, maps = prepare_views(self._scene, process_res=TRUTH_SIDE)
            swept = StereoDepth().sweep(views)
            depth = torch.where(swept.trusted, swept.depth, 0)[0].numpy()
            frames = self._scene.frames
            self._depth = [_in_photo(z, m, f.image_size) for z, m, f in zip(depth, maps, frames)]
        return self._depth[index]


def _in_photo(depth: np.ndarray, shown: PixelMap, size: tuple[int, int]) -> np.ndarray:
    """A map of what the network saw as a map of the whole photo, by nearest pixel; 0 where it was cut off."""
    scale = TRUTH_SIDE / max(size)
    H, W = (max(1, round(side * scale)) for side in size)
    inverse = PixelMap(
        photo_size=shown.network_size,
        network_size=size,
        scale=(1 / shown.scale[0], 1 / shown.scale[1]),
        offset=(-shown.offset[0] / shown.scale[0], -shown.offset[1] / shown.scale[1]),
    ).resized((H, W))
    x, y = inverse.to_photo(np.stack((np.arange(max(H, W)) + 0.5,) * 2, axis=-1)).T
    inside = np.logical_and.outer(
        *((a[:n] >= 0) & (a[:n] < m) for a, n, m in zip((y, x), (H, W), shown.network_size))
    )
    return np.where(inside, show_map(depth, inverse), 0)


def _captures(root: Path) -> dict[str, Path]:
    """Name -> folder: the root itself if it can be opened, else the sub-folders that can."""
    try:
        open_photos(root, unposed=True)
        return {root.resolve().name: root}
    except InputError as error:
        reason = error
    found = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            open_photos(folder, unposed=True)
            found[folder.name] = folder
        except InputError:
            continue  # other folders may lie beside captures
    if not found:
        raise InputError(f"{reason}; nor is any folder in it a capture")
    return found

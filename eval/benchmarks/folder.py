"""Own captures as a benchmark: one folder of photos with poses, or a folder of such folders."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from geometry.console import say
from geometry.datasets.sources import SceneSource, chosen_scenes, existing_folder
from geometry.errors import InputError, PhotoError
from geometry.formats.images import natural_key
from geometry.options import require_one_of
from geometry.sampling.assemble import sparse_depth_map
from geometry.sampling.preprocess import prepare_views, whole_photo
from geometry.scenes.photos import open_photos
from geometry.scenes.scene import Frame, Scene
from nvs.cameras.fit import scaled_size
from nvs.stereo.limits import triangulated

TRUTH_SIDE = 504  # pixels of the long side at which depth is found
FEATURE_SIDE = 952  # and features are


class Captures(SceneSource):
    """Whatever `open_photos` opens: a COLMAP model or a transforms.json beside its photos.

    Args:
        root: one capture, or a folder that holds one capture per sub-folder.
        scenes: names of sub-folders to take, or a file with one per line; None takes all.
        truth: what geometry is judged by where nothing was measured. ``points`` gives photos the depth of the
            sparse points that they observed or, where there are none, of features triangulated between
            their cameras. None takes depth beside the photos.
        posed: refuse photos without cameras.

    Raises:
        InputError: neither the folder nor a folder in it is a capture with poses.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        scenes: str | Path | Sequence[str] | None = None,
        truth: Literal["points"] | None = None,
        posed: bool = True,
    ) -> None:
        require_one_of("benchmark.source.truth", truth or "points", ("points",))
        self._truth, self._posed = truth, posed
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
        if self._posed and not scene.posed:
            raise InputError(
                f"{folder}: expected photos with poses (a COLMAP model or a transforms.json), "
                f"got photos alone; nvs render --holdout N measures on those"
            )
        if self._truth is not None:
            found = cache(partial(_sparse_depth, scene))  # of all photos when the first is asked for
            depths = [lambda i=i: found()[i] for i in range(len(scene))]
            frames = tuple(_Judged(**vars(f) | {"depth": depth}) for f, depth in zip(scene.frames, depths))
            scene = replace(scene, frames=frames)
        return replace(scene, name=name)


class _Judged(Frame):
    """A frame whose depth was found in what `load` returns, so that no distortion is left in it."""

    def load_depth(self) -> Float[np.ndarray, "h w"] | None:
        return None if self.depth is None else self.depth()


def _sparse_depth(scene: Scene) -> list[Float[np.ndarray, "h w"]]:
    """Depth of every photo at sparse points, `TRUTH_SIDE` pixels along the longer side; 0 elsewhere."""
    if scene.points is not None and scene.visibility is not None:
        say(f"{scene.name}: depth of {len(scene.points)} sparse points")
        clouds, poses = [scene.points[seen] for seen in scene.visibility], scene.extrinsics
    else:
        say(f"{scene.name}: no sparse points, so features of {len(scene)} photos are triangulated")
        views, _ = prepare_views(scene, process_res=FEATURE_SIDE)
        assert views.cameras is not None
        found = triangulated(views, most=2000, neighbours=6, reach_px=1.0, parallax_deg=4.0)
        to_rays = np.linalg.inv(views.cameras.intrinsics[0].double().numpy()).transpose(0, 2, 1)
        clouds = [np.insert(p[:, :2], 2, 1, axis=1) @ K * p[:, 2:] for p, K in zip(found, to_rays)]
        poses = np.eye(4)[None].repeat(len(scene), axis=0)  # they are in their cameras' axes
    sizes = [scaled_size(frame.image_size, TRUTH_SIDE) for frame in scene.frames]
    maps = [whole_photo(f.image_size).resized(size) for f, size in zip(scene.frames, sizes)]
    intrinsics = [m.network_intrinsics(K) for m, K in zip(maps, scene.intrinsics)]
    return [sparse_depth_map(*each) for each in zip(clouds, poses, intrinsics, sizes)]


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

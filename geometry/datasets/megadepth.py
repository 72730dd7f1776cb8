"""MegaDepth: internet photos of landmarks with COLMAP poses and multi-view-stereo depth.

Three readers, one for each kind of index file:

- D2-Net's ``scene_info/<scene>.npz``: image_paths, depth_paths, intrinsics, poses, with None where a photo
  is unusable;
- LoFTR's index ``<scene>_<lo>_<hi>.npz``: the same arrays and pair_infos (the public test files are a bare
  pickle with that name);
- D2-Net's ``Undistorted_SfM/<scene>/{images, sparse}``: a COLMAP model of PINHOLE cameras.

Poses are world-to-camera with OpenCV axes, intrinsics COLMAP's (first pixel centre at (0.5, 0.5)), scale
arbitrary. Depth lies in ``phoenix/S6/zl548/MegaDepth_v1/<scene>/dense<k>/depths/<stem>.h5``, dataset
``depth``: float32 z-depth of the undistorted photo, 0 = unknown. Some of those files hold ordinal labels
instead, recognised by negative values; they count as no depth.

Source: mihaidusmanu/d2-net ``megadepth_utils`` and ``lib/dataset.py``; zju3dv/LoFTR
``src/datasets/megadepth.py``. Checked on a real pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import DataSet, existing_folder, if_there, stored_frame
from geometry.errors import InputError, reading
from geometry.formats import colmap
from geometry.formats.depth_files import read_h5_depth
from geometry.formats.safe_pickle import load_objects
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Scene, check_pose

DEPTHS = "phoenix/S6/zl548/MegaDepth_v1"
_KEYS = ("image_paths", "depth_paths", "intrinsics", "poses")


@dataclass(eq=False, kw_only=True)
class MegaDepthIndex(DataSet):
    """MegaDepth through index files, D2-Net's or LoFTR's; each file is one scene.

    Args:
        root: folder to which the paths in the index files are relative.
        index: folder of ``.npz`` files, or one of them.
        scenes: stems of index files to take, or a file with one per line; None takes all.
        exclude: place numbers to leave out, for example those of the usual test scenes ("0015", "0022").
    """

    holds = "photos of MegaDepth with index files (.npz)"
    index: str | Path = field(kw_only=False)
    exclude: Sequence[str] = ()

    def _list(self) -> dict[str, Path]:
        index = Path(self.index).expanduser()
        files = (
            [index] if index.is_file() else sorted(existing_folder(index, "index files").glob("[!.]*.npz"))
        )
        found = {file.stem: file for file in files if file.stem.split("_")[0] not in self.exclude}
        return dict(sorted(found.items()))

    def _read(self, name: str, place: Path) -> Scene:
        index = load_objects(place)
        missing = [key for key in _KEYS if key not in index]
        if missing:
            raise InputError(f"{place}: expected arrays {', '.join(_KEYS)}, found no {missing[0]}")
        counts = [len(index[key]) for key in _KEYS]
        if len(set(counts)) > 1:
            raise InputError(f"{place}: expected as many of each of {', '.join(_KEYS)}, got {counts}")
        frames = []
        for image, depth, K, pose in zip(*(index[key] for key in _KEYS)):
            if image is None or K is None or pose is None:
                continue  # the index keeps a slot for every photo of the model, usable or not
            where = f"{place}, frame {image}"
            with reading(where, "numeric intrinsics and pose"):
                K, pose = np.asarray(K, dtype=np.float64), np.asarray(pose, dtype=np.float64)
            check_pose(pose, where)
            map_of = None if depth is None else partial(read_megadepth, self.base / str(depth))
            # COLMAP undistorted the stored pixels.
            frames.append(stored_frame(self.base / str(image), pose, K, name=str(image), depth=map_of))
        return Scene(name=name, frames=tuple(frames), source=str(place), folder=self.base)


@dataclass(eq=False, kw_only=True)
class MegaDepthColmap(DataSet):
    """MegaDepth undistorted by COLMAP: ``<root>/Undistorted_SfM/<scene>/{images, sparse}``.

    Sparse points and their observations are read too; depth where its file is there.

    Args:
        root: folder of ``Undistorted_SfM`` and ``phoenix``.
        scenes: place numbers to take, or a file with one per line; None takes all.
        exclude: place numbers to leave out.
        dense: which reconstruction of the place; the public splits use 0 only.
    """

    holds = "MegaDepth scenes with a COLMAP model (Undistorted_SfM/<scene>)"
    exclude: Sequence[str] = ()
    dense: int = 0

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder has MegaDepth's undistorted models."""
        return (root / "Undistorted_SfM").is_dir()

    def _list(self) -> dict[str, Path]:
        models = existing_folder(self.base / "Undistorted_SfM", "undistorted COLMAP models")
        places = [p for p in sorted(models.iterdir()) if p.is_dir() and p.name not in self.exclude]
        return {p.name: p for p in places if colmap.find_model(p) is not None}

    def _read(self, name: str, place: Path) -> Scene:
        scene = read_colmap(colmap.find_model(place), place / "images")
        depths = self.base / DEPTHS / name / f"dense{self.dense}" / "depths"
        frames = tuple(
            replace(f, depth=if_there(read_megadepth, depths / f"{Path(f.name).stem}.h5"))
            for f in scene.frames
        )
        return replace(scene, name=name, frames=frames)


def read_megadepth(path: Path) -> Float[np.ndarray, "H W"]:
    """z-depth of one photo, 0 = unknown; all 0 where the file holds ordinal labels."""
    depth = read_h5_depth(path)
    return np.zeros_like(depth) if depth.min(initial=0.0) < 0 else depth

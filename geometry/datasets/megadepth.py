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
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.depth_files import read_h5_depth
from geometry.formats.images import read_header
from geometry.formats.safe_pickle import load_objects
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Frame, Scene, check_pose

DEPTHS = "phoenix/S6/zl548/MegaDepth_v1"
_KEYS = ("image_paths", "depth_paths", "intrinsics", "poses")


class MegaDepthIndex(SceneSource):
    """MegaDepth through index files, D2-Net's or LoFTR's; each file is one scene.

    Args:
        root: folder to which the paths in the index files are relative.
        index: folder of ``.npz`` files, or one of them.
        scenes: stems of index files to take, or a file with one per line; None takes all.
        exclude: place numbers to leave out, for example those of the usual test scenes ("0015", "0022").
    """

    def __init__(
        self,
        root: str | Path,
        index: str | Path,
        *,
        scenes: str | Path | Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        self.root = existing_folder(root, "the MegaDepth photos")
        index = Path(index).expanduser()
        files = [index] if index.is_file() else sorted(existing_folder(index, "index files").glob("*.npz"))
        self._files = {file.stem: file for file in files if file.stem.split("_")[0] not in exclude}
        self.names = scene_names(sorted(self._files), scenes, index, "MegaDepth index files (.npz)")

    def read(self, name: str) -> Scene:
        path = self._files[self._require(name, self.root)]
        index = load_objects(path)
        missing = [key for key in _KEYS if key not in index]
        if missing:
            raise InputError(f"{path}: expected arrays {', '.join(_KEYS)}, found no {missing[0]}")
        count = len(index["image_paths"])
        if any(len(index[key]) != count for key in _KEYS):
            raise InputError(
                f"{path}: expected as many of each as the {count} image_paths, got fewer or more"
            )
        frames = []
        for i in range(count):
            image, depth, K, pose = (index[key][i] for key in _KEYS)
            if image is None or K is None or pose is None:
                continue  # the index keeps a slot for every photo of the model, usable or not
            frames.append(self._frame(path, str(image), depth, K, pose))
        if not frames:
            raise InputError(f"{path}: expected photos with cameras, all {count} slots are empty")
        return Scene(name=name, frames=tuple(frames), source=str(path), folder=self.root)

    def _frame(self, path: Path, image: str, depth: object, K: object, pose: object) -> Frame:
        where = f"{path}, frame {image}"
        try:
            K, pose = np.asarray(K, dtype=np.float64), np.asarray(pose, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{where}: expected numeric intrinsics and pose, got {K!r:.40}") from None
        check_pose(pose, where)
        photo = self.root / image
        return Frame(
            name=image,
            image=photo,
            image_size=read_header(photo).stored_size,
            extrinsics=pose,
            intrinsics=K,
            exif=False,  # COLMAP undistorted the stored pixels
            depth=None if depth is None else partial(read_megadepth, self.root / str(depth)),
        )


class MegaDepthColmap(SceneSource):
    """MegaDepth undistorted by COLMAP: ``<root>/Undistorted_SfM/<scene>/{images, sparse}``.

    Sparse points and their observations are read too; depth where its file is there.

    Args:
        root: folder of ``Undistorted_SfM`` and ``phoenix``.
        scenes: place numbers to take, or a file with one per line; None takes all.
        exclude: place numbers to leave out.
        dense: which reconstruction of the place; the public splits use 0 only.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        scenes: str | Path | Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        dense: int = 0,
    ) -> None:
        self.root = existing_folder(root, "MegaDepth")
        self.dense = dense
        models = existing_folder(self.root / "Undistorted_SfM", "undistorted COLMAP models")
        names = [p.name for p in sorted(models.iterdir()) if p.is_dir() and p.name not in exclude]
        names = [name for name in names if colmap.find_model(models / name) is not None]
        self.names = scene_names(names, scenes, models, "MegaDepth scenes with a COLMAP model")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder has MegaDepth's undistorted models."""
        return (root / "Undistorted_SfM").is_dir()

    def read(self, name: str) -> Scene:
        folder = self.root / "Undistorted_SfM" / self._require(name, self.root)
        scene = read_colmap(colmap.find_model(folder), folder / "images")
        depths = self.root / DEPTHS / name / f"dense{self.dense}" / "depths"
        frames = []
        for frame in scene.frames:
            depth = depths / f"{Path(frame.name).stem}.h5"
            frames.append(replace(frame, depth=partial(read_megadepth, depth)) if depth.is_file() else frame)
        return replace(scene, name=name, frames=tuple(frames))


def read_megadepth(path: Path) -> Float[np.ndarray, "H W"]:
    """z-depth of one photo, 0 = unknown; all 0 where the file holds ordinal labels."""
    depth = read_h5_depth(path)
    return np.zeros_like(depth) if depth.min(initial=0.0) < 0 else depth

"""Benchmarks of depth of single photos: KITTI, NYU, Sintel, DIODE. Not yet tested on real files.

A "scene" is a part of the set that is predicted at once: a drive, fifty photos, a sequence, a scan.

- KITTI's Eigen split by a list with lines ``photo depth [focal]`` (the form in which the split is passed
  around), photos below ``root``, depth below ``depth_root``; 16 bits, metres = value / 256, 0 = unknown. Or,
  without a list, the official ``val_selection_cropped/{image, groundtruth_depth_}``.
- NYU v2: ``nyu_depth_v2_labeled.mat`` (HDF5: ``images`` [N, 3, W, H], ``depths`` [N, W, H], metres) and
  ``splits.mat`` with ``testNdxs`` (from 1).
- Sintel: ``training/{final, depth, camdata_left}/<sequence>/frame_XXXX.{png, dpt, cam}``; .dpt: float
  202021.25, int32 width and height, float32 values; .cam: the same float, K, world-to-camera.
- DIODE: ``val/{indoors,outdoor}/scene_*/scan_*/<photo>.png``, ``_depth.npy`` [H, W, 1] in metres, and
  ``_depth_mask.npy``.

Source: the sets' own documentation and public loaders.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from jaxtyping import Float, UInt8

from geometry.datasets.sources import DataSet, read_names, rigid, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_header
from geometry.scenes.scene import Frame, Scene

_PART = 50  # photos of NYU that are predicted at once
_TAG = 202021.25


def _single(photo: Path, depth: Callable, name: str) -> Frame:
    """A photo without a camera, as stored."""
    size = read_header(photo).stored_size
    return Frame(name=name, image=photo, image_size=size, exif=False, depth=depth)


@dataclass(eq=False, kw_only=True)
class Kitti(DataSet):
    """KITTI's Eigen split by ``list``, or the official selection of 1000 photos."""

    holds = "KITTI's val_selection_cropped/image, or list=FILE of Eigen's split"
    list: str | Path | None = None
    depth_root: str | Path | None = None

    def _list(self) -> dict[str, Path]:
        self._pairs: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
        if self.list is not None:
            depth_root = Path(self.depth_root or self.base).expanduser()
            for line in read_names(Path(self.list)):
                photo, depth, *_ = line.split()
                if depth != "None":
                    drive = Path(photo).parts[1] if len(Path(photo).parts) > 1 else "all"
                    self._pairs[drive].append((self.base / photo, depth_root / depth))
        else:
            folder = self.base / "val_selection_cropped"
            for photo in sorted((folder / "image").glob("*_image_*.png")):
                drive = photo.name.partition("_image_")[0]
                depth = photo.name.replace("_sync_image_", "_sync_groundtruth_depth_")
                self._pairs[drive].append((photo, folder / "groundtruth_depth" / depth))
        return dict.fromkeys(self._pairs, self.base)

    def _read(self, name: str, place: Path) -> Scene:
        frames = [
            _single(photo, partial(read_png_depth, depth, unit=1 / 256), photo.relative_to(place).as_posix())
            for photo, depth in self._pairs[name]
        ]
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True)


@dataclass(eq=False, kw_only=True)
class Nyu(DataSet):
    """The 654 test photos, fifty at a time."""

    holds = "nyu_depth_v2_labeled.mat and splits.mat"

    def _list(self) -> dict[str, Path]:
        path = self.base / "splits.mat"
        with reading(path, "NYU's split with testNdxs"):
            self._test = scipy.io.loadmat(path)["testNdxs"].ravel().astype(int) - 1
        parts = range(0, len(self._test), _PART)
        return {f"part_{start // _PART:02d}": self.base / "nyu_depth_v2_labeled.mat" for start in parts}

    def _read(self, name: str, place: Path) -> Scene:
        start = int(name.removeprefix("part_")) * _PART
        with reading(place, "NYU's labelled photos as HDF5"), h5py.File(place, "r") as file:
            W, H = file["images"].shape[2:]
        frames = [
            Frame(
                name=f"{index:04d}",
                image=partial(_nyu_photo, place, index),
                image_size=(H, W),
                depth=partial(_nyu_depth, place, index),
            )
            for index in self._test[start : start + _PART].tolist()
        ]
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True)


def _nyu_photo(path: Path, index: int) -> UInt8[np.ndarray, "H W 3"]:
    with h5py.File(path, "r") as file:
        return np.ascontiguousarray(file["images"][index].transpose(2, 1, 0))


def _nyu_depth(path: Path, index: int) -> Float[np.ndarray, "H W"]:
    with h5py.File(path, "r") as file:
        return np.ascontiguousarray(file["depths"][index].T.astype(np.float32))


@dataclass(eq=False, kw_only=True)
class Sintel(DataSet):
    """The training sequences with depth; ``look`` is ``final`` or ``clean``."""

    holds = "Sintel's training/depth/<sequence>"
    look: str = "final"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return {p.name: p for p in sorted((root / "training/depth").glob("*")) if p.is_dir()}

    def _read(self, name: str, place: Path) -> Scene:
        folder, frames = place.parents[1], []
        for depth in sorted(place.glob("*.dpt")):
            photo = folder / self.look / name / f"{depth.stem}.png"
            E, K = read_cam(folder / "camdata_left" / name / f"{depth.stem}.cam")
            frames.append(stored_frame(photo, E, K, depth=partial(read_dpt, depth)))
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True)


def read_dpt(path: Path) -> Float[np.ndarray, "H W"]:
    """Depth along z."""
    with reading(path, "Sintel's depth"):
        data = path.read_bytes()
        tag = np.frombuffer(data, "<f4", 1).item()
        width, height = np.frombuffer(data, "<i4", 2, 4).tolist()
        if abs(tag - _TAG) > 1e-3 or len(data) < 12 + 4 * width * height:
            raise ValueError(f"tag {tag}, {width} x {height}, {len(data)} bytes")
        return np.frombuffer(data, "<f4", width * height, 12).reshape(height, width)


def read_cam(path: Path) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """World-to-camera and intrinsics; the file's first pixel centre is at (0, 0)."""
    with reading(path, "Sintel's camera"):
        data = path.read_bytes()
        if abs(np.frombuffer(data, "<f4", 1).item() - _TAG) > 1e-3:
            raise ValueError("another tag")
        K, E = np.split(np.frombuffer(data, "<f8", 21, 4), [9])
    K = K.reshape(3, 3) + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    E = E.reshape(3, 4)
    return rigid(E[:, :3], E[:, 3], str(path)), K


@dataclass(eq=False, kw_only=True)
class Diode(DataSet):
    """The validation scans; ``part`` is ``indoors``, ``outdoor`` or ``*`` for both."""

    holds = "DIODE's val/<part>/scene_*/scan_*"
    part: str = "*"

    def _list(self) -> dict[str, Path]:
        scans = sorted((self.base / "val").glob(f"{self.part}/scene_*/scan_*"))
        return {"/".join(p.parts[-3:]): p for p in scans}

    def _read(self, name: str, place: Path) -> Scene:
        photos = sorted(place.glob("*.png"))
        frames = [_single(photo, partial(read_diode, photo), photo.name) for photo in photos]
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True)


def read_diode(photo: Path) -> Float[np.ndarray, "H W"]:
    """Metres, 0 where the mask says unknown."""
    path = photo.with_name(f"{photo.stem}_depth.npy")
    with reading(path, "DIODE's depth [H, W, 1] and mask"):
        depth, mask = np.load(path), np.load(photo.with_name(f"{photo.stem}_depth_mask.npy"))
        depth = depth.reshape(depth.shape[:2]).astype(np.float32)
        if depth.shape != mask.shape:
            raise InputError(f"{path}: expected a mask of {depth.shape}, got {mask.shape}")
        return np.where(mask > 0, depth, 0)

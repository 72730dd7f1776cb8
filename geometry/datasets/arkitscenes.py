"""ARKitScenes: rooms filmed with an iPad, LiDAR depth and ARKit poses, in metres.

``<root>/{Training, Validation}/<video id>/`` of the raw download; in the 3dod download the same files lie in
``<video id>/<video id>_frames/``. Per asset (``lowres_wide`` 192 x 256, ``vga_wide`` 480 x 640, ``wide``
1440 x 1920):

- ``<asset>/<video id>_<timestamp>.png`` and ``<asset>_intrinsics/<video id>_<timestamp>.pincam`` (one line:
  width height fx fy cx cy; the timestamp may be off by a millisecond);
- ``lowres_depth/...png`` (LiDAR, 192 x 256) and, with ``wide``, ``highres_depth/...png`` (projected from the
  laser scan): uint16 millimetres, 0 = unknown; ``confidence/...png``: 0, 1 or 2;
- ``lowres_wide.traj``: timestamp, rotation as axis times angle, translation: world-to-camera, OpenCV axes,
  world z up; about 10 poses a second.

The device is held in any orientation; photos are turned so that the world's up is up, by the mean of all
poses. A photo without a pose within 5 ms is left out.

Source: apple/ARKitScenes ``DATA.md``, ``raw/README.md``, ``threedod/benchmark_scripts/utils``; naver/dust3r's
preprocessing for orientation. Not yet tested on a real video.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import DataSet, if_there, rigid
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_header, read_map, turned_size
from geometry.formats.text import read_table
from geometry.scenes.scene import Frame, Scene, turn_extrinsics, turn_intrinsics

ASSETS = ("lowres_wide", "vga_wide", "wide")
_POSE_TOLERANCE_S = 0.005


@dataclass(eq=False, kw_only=True)
class ARKitScenes(DataSet):
    """Videos of ARKitScenes; scene names are video ids.

    Args:
        root: folder of ``Training`` and ``Validation``, or of one ``raw`` or ``3dod`` folder above them.
        asset: ``lowres_wide``, ``vga_wide`` or ``wide``.
        depth: ``lowres_depth`` (LiDAR) or ``highres_depth`` (laser scan, with ``wide``).
        least_confidence: LiDAR depth of lower ARKit confidence (0, 1, 2) is unknown, where confidence is
            there.
    """

    holds = "ARKitScenes videos with lowres_wide.traj and the asset's folder"
    asset: Literal["lowres_wide", "vga_wide", "wide"] = "vga_wide"
    depth: Literal["lowres_depth", "highres_depth"] = "lowres_depth"
    least_confidence: int = 1

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for base in (root, root / "raw", root / "3dod"):
            for place in (base, base / "Training", base / "Validation"):
                for inner in ("*/*_frames/lowres_wide.traj", "*/lowres_wide.traj"):
                    for traj in place.glob(inner):
                        found.setdefault(traj.parent.name.removesuffix("_frames"), traj.parent)
        return dict(sorted(found.items()))

    def _list(self) -> dict[str, Path]:
        if self.asset not in ASSETS:
            raise InputError(f"{self.base}: expected an asset among {', '.join(ASSETS)}, got {self.asset}")
        return {name: p for name, p in self.find(self.base).items() if (p / self.asset).is_dir()}

    def _read(self, name: str, place: Path) -> Scene:
        traj = place / "lowres_wide.traj"
        times, poses = read_traj(traj)
        turns = quarter_turns_upright(poses)
        frames = []
        for photo in sorted((place / self.asset).glob("[!.]*.png")):
            with reading(photo, "a name <video>_<timestamp>.png"):
                time = float(photo.stem.removeprefix(f"{name}_"))
            nearest = int(np.abs(times - time).argmin())
            if abs(times[nearest] - time) <= _POSE_TOLERANCE_S:
                frames.append(self._frame(photo, name, time, poses[nearest], turns))
        return Scene(name=name, frames=tuple(frames), source=str(traj), metric=True, folder=place)

    def camera_files(self, scene: Scene) -> list[Path]:
        traj = Path(scene.source)
        return [traj, traj.parent / f"{self.asset}_intrinsics"]

    def _frame(self, photo: Path, name: str, time: float, pose: np.ndarray, turns: int) -> Frame:
        folder, size = photo.parents[1], read_header(photo).stored_size
        K = read_pincam(_find_pincam(folder / f"{self.asset}_intrinsics", name, time), size)
        confidence = folder / "confidence" / photo.name
        trusted = self.depth == "lowres_depth" and self.least_confidence > 0 and confidence.is_file()
        least = (confidence, self.least_confidence) if trusted else ()
        return Frame(
            name=photo.name,
            image=photo,
            image_size=turned_size(size, turns),
            extrinsics=turn_extrinsics(pose, turns),
            intrinsics=turn_intrinsics(K, size, turns),
            exif=False,
            quarter_turns=turns,
            depth=if_there(read_lidar, folder / self.depth / photo.name, *least),
        )


def read_traj(path: Path) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 4 4"]]:
    """Times in seconds and world-to-camera poses of a .traj file."""
    rows = read_table(path, 7, "time, rotation and translation")
    poses = [
        rigid(cv2.Rodrigues(row[1:4])[0], row[4:7], f"{path}, line {i}") for i, row in enumerate(rows, 1)
    ]
    return rows[:, 0], np.stack(poses)


def quarter_turns_upright(poses: Float[np.ndarray, "N 4 4"]) -> int:
    """Clockwise quarter turns that bring the world's up (z) nearest to the top of the images, on average."""
    right, down, _ = poses[:, :3, 2].mean(axis=0)  # the world's z axis in camera axes
    # Up lies towards: the top (0 turns), the left (1), the bottom (2) or the right (3) of the image.
    return int(np.argmax([-down, -right, down, right]))


def read_pincam(path: Path, image_size: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a .pincam file, scaled to the photo where it describes another resolution."""
    with reading(path, "width height fx fy cx cy"):
        w, h, fx, fy, cx, cy = (float(word) for word in path.read_text(encoding="utf-8").split())
    H, W = image_size
    return np.array([[fx * W / w, 0, cx * W / w], [0, fy * H / h, cy * H / h], [0, 0, 1]])


def read_lidar(
    path: Path, confidence: Path | None = None, least_confidence: int = 0
) -> Float[np.ndarray, "H W"]:
    """z-depth in metres, 0 where unknown or, with a map of confidence, of a lower one."""
    depth = read_png_depth(path, unit=1e-3)
    if confidence is not None:
        trust = read_map(confidence)
        if trust.shape != depth.shape:
            raise InputError(f"{confidence}: expected the depth's size {depth.shape}, got {trust.shape}")
        depth[trust < least_confidence] = 0
    return depth


def _find_pincam(folder: Path, name: str, time: float) -> Path:
    """The file of this time, to the millisecond before or after: the set rounds differently."""
    candidates = [folder / f"{name}_{time + shift:.3f}.pincam" for shift in (0, -0.001, 0.001)]
    return next((path for path in candidates if path.is_file()), candidates[0])

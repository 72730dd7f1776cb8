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

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_header, read_map, turned_size
from geometry.formats.text import read_table
from geometry.scenes.scene import Frame, Scene, check_pose, turn_extrinsics, turn_intrinsics

ASSETS = ("lowres_wide", "vga_wide", "wide")
_POSE_TOLERANCE_S = 0.005
_SPLITS = ("Training", "Validation")


class ARKitScenes(SceneSource):
    """Videos of ARKitScenes; scene names are video ids.

    Args:
        root: folder of ``Training`` and ``Validation``, or of one ``raw`` or ``3dod`` folder above them.
        asset: ``lowres_wide``, ``vga_wide`` or ``wide``.
        depth: ``lowres_depth`` (LiDAR) or ``highres_depth`` (laser scan, with ``wide``).
        least_confidence: LiDAR depth of lower ARKit confidence (0, 1, 2) is unknown, where confidence is
            there.
        scenes: video ids to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        asset: Literal["lowres_wide", "vga_wide", "wide"] = "vga_wide",
        depth: Literal["lowres_depth", "highres_depth"] = "lowres_depth",
        least_confidence: int = 1,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "ARKitScenes")
        if asset not in ASSETS:
            raise InputError(f"{self.root}: expected an asset among {', '.join(ASSETS)}, got {asset}")
        self.asset, self.depth, self.least_confidence = asset, depth, least_confidence
        self._folders = _find_videos(self.root)
        names = [name for name, folder in sorted(self._folders.items()) if (folder / asset).is_dir()]
        self.names = scene_names(names, scenes, self.root, f"videos with lowres_wide.traj and {asset}")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether videos with ARKit trajectories are there."""
        return bool(_find_videos(root))

    def read(self, name: str) -> Scene:
        folder = self._folders[self._require(name, self.root)]
        traj = folder / "lowres_wide.traj"
        times, poses = read_traj(traj)
        turns = quarter_turns_upright(poses)
        frames = []
        for photo in sorted((folder / self.asset).glob("*.png")):
            stamp = photo.stem.removeprefix(f"{name}_")
            try:
                time = float(stamp)
            except ValueError:
                raise InputError(f"{photo}: expected a name <video>_<timestamp>.png") from None
            nearest = int(np.abs(times - time).argmin())
            if abs(times[nearest] - time) <= _POSE_TOLERANCE_S:
                frames.append(self._frame(folder, photo, name, time, poses[nearest], turns))
        if not frames:
            raise InputError(
                f"{traj}: expected poses of {folder / self.asset}, none is within 5 ms of a photo"
            )
        return Scene(name=name, frames=tuple(frames), source=str(traj), metric=True, folder=folder)

    def _frame(
        self, folder: Path, photo: Path, name: str, time: float, pose: np.ndarray, turns: int
    ) -> Frame:
        size = read_header(photo).stored_size
        K = read_pincam(_find_pincam(folder / f"{self.asset}_intrinsics", name, time), size)
        depth = folder / self.depth / photo.name
        confidence = folder / "confidence" / photo.name
        checked = self.depth == "lowres_depth" and self.least_confidence > 0 and confidence.is_file()
        reader = partial(
            read_lidar, depth, confidence if checked else None, least_confidence=self.least_confidence
        )
        return Frame(
            name=photo.name,
            image=photo,
            image_size=turned_size(size, turns),
            extrinsics=turn_extrinsics(pose, turns),
            intrinsics=turn_intrinsics(K, size, turns),
            exif=False,
            quarter_turns=turns,
            depth=reader if depth.is_file() else None,
        )


def read_traj(path: Path) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 4 4"]]:
    """Times in seconds and world-to-camera poses of a .traj file."""
    rows = read_table(path, 7, "time, rotation and translation")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    for pose, row in zip(poses, rows):
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(row[1:4])[0], row[4:7]
    check_pose(poses[0], f"{path}, line 1")
    return rows[:, 0], poses


def quarter_turns_upright(poses: Float[np.ndarray, "N 4 4"]) -> int:
    """Clockwise quarter turns that bring the world's up (z) nearest to the top of the images, on average."""
    right, down, _ = poses[:, :3, 2].mean(axis=0)  # the world's z axis in camera axes
    # Up lies towards: the top (0 turns), the left (1), the bottom (2) or the right (3) of the image.
    return int(np.argmax([-down, -right, down, right]))


def read_pincam(path: Path, image_size: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a .pincam file, scaled to the photo where it describes another resolution."""
    try:
        w, h, fx, fy, cx, cy = (float(word) for word in path.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected width height fx fy cx cy, could not read it ({error})") from error
    H, W = image_size
    return np.array([[fx * W / w, 0, cx * W / w], [0, fy * H / h, cy * H / h], [0, 0, 1]])


def read_lidar(path: Path, confidence: Path | None, *, least_confidence: int) -> Float[np.ndarray, "H W"]:
    """z-depth in metres, 0 where unknown or of low confidence."""
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
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InputError(
            f"{candidates[0]}: expected intrinsics of the photo at {time:.3f} s, found no such file"
        )
    return found


def _find_videos(root: Path) -> dict[str, Path]:
    """Video id -> folder of its assets."""
    found: dict[str, Path] = {}
    for base in (root, root / "raw", root / "3dod"):
        for place in (base, *(base / split for split in _SPLITS)):
            for traj in sorted(
                [*place.glob("*/lowres_wide.traj"), *place.glob("*/*_frames/lowres_wide.traj")]
            ):
                folder = traj.parent
                name = folder.name.removesuffix("_frames")
                found.setdefault(name, folder)
    return found

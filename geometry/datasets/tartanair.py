"""TartanAir: flights through rendered worlds with exact depth, in metres; first version and V2.

- first: ``<env>/{Easy, Hard}/P000/{image_left/000000_left.png, depth_left/000000_left_depth.npy,
  pose_left.txt}``, 480 x 640, float32 depth;
- V2: ``<env>/{Data_easy, Data_hard}/P000/{image_lcam_front/000000_lcam_front.png,
  depth_lcam_front/000000_lcam_front_depth.png, pose_lcam_front.txt}``, 640 x 640, the four bytes of a
  little-endian float32 in the blue, green, red and alpha channel.

A pose line is tx ty tz qx qy qz qw: the camera's centre and its orientation in a fixed frame, camera axes
x forward, y right, z down (NED). Field of view 90 degrees: f = W / 2, principal point at the centre of the
image, which with f = W / 2 puts the borders at the image's borders. Depth is along z; the sky is a sphere
at a large distance.

Source: castacks/tartanair_tools ``data_type.md``; tartanair.org. Not yet tested on a real flight.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_npy_depth
from geometry.formats.images import read_header
from geometry.formats.text import read_table
from geometry.ops import rotations, se3
from geometry.scenes.scene import Frame, Scene, check_pose

# Camera axes: columns are OpenCV's right, down and forward in NED's forward, right, down.
_NED_FROM_CV = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_FORMS = {"left": "", "lcam_front": "V2"}


class TartanAir(SceneSource):
    """Flights of TartanAir; scene names are ``<env>/<difficulty>/P000``.

    Args:
        root: folder of the environments.
        sky_depth_m: depth from which on a pixel is sky: no depth, and marked as sky. The set names no
            exact value ("a large depth value, e.g. 10000"); ours.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        sky_depth_m: float = 1000.0,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "TartanAir environments")
        self.sky_depth_m = sky_depth_m
        self._camera = {
            p.parent.relative_to(self.root).as_posix(): camera
            for camera in _FORMS
            for p in sorted(self.root.glob(f"*/*/P*/pose_{camera}.txt"))
        }
        self.names = scene_names(
            sorted(self._camera), scenes, self.root, "flights (<env>/<difficulty>/P*/pose_left.txt)"
        )

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether flights of either version are there."""
        return any(any(root.glob(f"*/*/P*/pose_{camera}.txt")) for camera in _FORMS)

    def read(self, name: str) -> Scene:
        folder, camera = self.root / self._require(name, self.root), self._camera[name]
        path = folder / f"pose_{camera}.txt"
        poses = read_poses(path)
        photos = sorted((folder / f"image_{camera}").glob("*.png"))
        if len(photos) != len(poses):
            raise InputError(f"{path}: expected one pose for each of {len(photos)} photos, got {len(poses)}")
        frames = []
        for photo, pose in zip(photos, poses):
            H, W = read_header(photo).stored_size
            depth = folder / f"depth_{camera}" / f"{photo.stem}_depth{'.png' if _FORMS[camera] else '.npy'}"
            there = depth.is_file()
            frames.append(
                Frame(
                    name=photo.name,
                    image=photo,
                    image_size=(H, W),
                    extrinsics=pose,
                    intrinsics=np.array([[W / 2, 0, W / 2], [0, W / 2, H / 2], [0, 0, 1]]),
                    exif=False,
                    depth=partial(read_depth, depth, self.sky_depth_m) if there else None,
                    sky=partial(read_sky, depth, self.sky_depth_m) if there else None,
                )
            )
        return Scene(name=name, frames=tuple(frames), source=str(path), metric=True, folder=folder)


def read_poses(path: Path) -> list[Float[np.ndarray, "4 4"]]:
    """World-to-camera poses, OpenCV axes, of a pose file; the world stays NED."""
    poses = []
    for number, row in enumerate(read_table(path, 7, "tx ty tz qx qy qz qw")):
        cam_to_world = np.eye(4)
        R = rotations.matrix_from_quat_xyzw(torch.from_numpy(row[3:])).numpy()
        cam_to_world[:3, :3], cam_to_world[:3, 3] = R @ _NED_FROM_CV, row[:3]
        check_pose(cam_to_world, f"{path}, line {number + 1}")
        poses.append(se3.invert(torch.from_numpy(cam_to_world)).numpy())
    return poses


def read_depth(path: Path, sky_depth_m: float) -> Float[np.ndarray, "H W"]:
    """z-depth in metres, 0 on sky."""
    if path.suffix == ".npy":
        return read_npy_depth(path, beyond=sky_depth_m)
    depth = _unpack(path)
    return np.where(depth < sky_depth_m, depth, 0).astype(np.float32)


def read_sky(path: Path, sky_depth_m: float) -> Bool[np.ndarray, "H W"]:
    """True where depth is that of the sky sphere."""
    return (read_npy_depth(path) if path.suffix == ".npy" else _unpack(path)) >= sky_depth_m


def _unpack(path: Path) -> Float[np.ndarray, "H W"]:
    """float32 from the four bytes of a pixel, stored in the order blue, green, red, alpha."""
    try:
        with Image.open(path) as image:
            if image.mode != "RGBA":
                raise InputError(f"{path}: expected depth packed into RGBA, got mode {image.mode}")
            rgba = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected depth as PNG, could not read it ({error})") from error
    return np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]).view("<f4")[..., 0]

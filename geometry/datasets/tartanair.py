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

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image

from geometry.datasets.sources import DataSet, if_there, inverted, rigid, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_npy_depth
from geometry.formats.images import read_header
from geometry.formats.text import read_table
from geometry.ops import rotations
from geometry.scenes.scene import Scene

# Camera axes: columns are OpenCV's right, down and forward in NED's forward, right, down.
_NED_FROM_CV = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_DEPTH_SUFFIX = {"left": ".npy", "lcam_front": ".png"}  # of the first version's camera and V2's


@dataclass(eq=False, kw_only=True)
class TartanAir(DataSet):
    """Flights of TartanAir; scene names are ``<env>/<difficulty>/P000``.

    Args:
        root: folder of the environments.
        sky_depth_m: depth from which on a pixel is sky: no depth, and marked as sky. The set names no
            exact value ("a large depth value, e.g. 10000"); ours.
    """

    holds = "flights of TartanAir (<env>/<difficulty>/P*/pose_left.txt)"
    sky_depth_m: float = 1000.0

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        paths = [p for camera in _DEPTH_SUFFIX for p in root.glob(f"*/*/P*/pose_{camera}.txt")]
        return dict(sorted({p.parent.relative_to(root).as_posix(): p for p in paths}.items()))

    def _read(self, name: str, place: Path) -> Scene:
        folder, camera = place.parent, place.stem.removeprefix("pose_")
        poses, photos = read_poses(place), sorted((folder / f"image_{camera}").glob("[!.]*.png"))
        if len(photos) != len(poses):
            raise InputError(f"{place}: expected one pose for each of {len(photos)} photos, got {len(poses)}")
        frames = []
        for photo, pose in zip(photos, poses):
            H, W = read_header(photo).stored_size
            K = np.array([[W / 2, 0, W / 2], [0, W / 2, H / 2], [0, 0, 1]])
            path = folder / f"depth_{camera}" / f"{photo.stem}_depth{_DEPTH_SUFFIX[camera]}"
            depth, sky = (if_there(reader, path, self.sky_depth_m) for reader in (read_depth, read_sky))
            frames.append(stored_frame(photo, pose, K, depth=depth, sky=sky))
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True, folder=folder)


def read_poses(path: Path) -> list[Float[np.ndarray, "4 4"]]:
    """World-to-camera poses, OpenCV axes, of a pose file; the world stays NED."""
    poses = []
    for number, row in enumerate(read_table(path, 7, "tx ty tz qx qy qz qw"), start=1):
        R = rotations.matrix_from_quat_xyzw(torch.from_numpy(row[3:])).numpy()
        poses.append(inverted(rigid(R @ _NED_FROM_CV, row[:3], f"{path}, line {number}")))
    return poses


def read_depth(path: Path, sky_depth_m: float) -> Float[np.ndarray, "H W"]:
    """z-depth in metres, 0 on sky."""
    depth = _stored(path)
    return np.where(depth < sky_depth_m, depth, 0).astype(np.float32)


def read_sky(path: Path, sky_depth_m: float) -> Bool[np.ndarray, "H W"]:
    """True where depth is that of the sky sphere."""
    return _stored(path) >= sky_depth_m


def _stored(path: Path) -> Float[np.ndarray, "H W"]:
    """A .npy file, or float32 from the four bytes of a pixel in the order blue, green, red, alpha."""
    if path.suffix == ".npy":
        return read_npy_depth(path)
    with reading(path, "depth as PNG"), Image.open(path) as image:
        if image.mode != "RGBA":
            raise InputError(f"{path}: expected depth packed into RGBA, got mode {image.mode}")
        rgba = np.array(image)
    return np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]).view("<f4")[..., 0]

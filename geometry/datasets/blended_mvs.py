"""BlendedMVS and BlendedMVG: textured meshes rendered and blended with their photos.

``<project>/{blended_images/%08d.jpg, cams/%08d_cam.txt, rendered_depth_maps/%08d.pfm}`` (``*_masked.jpg``
beside the photos are not read). A cam file has the word ``extrinsic``, a 4 x 4 world-to-camera matrix
(OpenCV axes), the word ``intrinsic``, a 3 x 3 matrix, and a line of depth bounds. Depth is z, 0 where the
mesh has nothing, scale arbitrary; a few maps are empty. Licence: CC BY 4.0.

The format does not say where pixel centres lie; (0.5, 0.5) is assumed, an error of half a pixel at most.

Source: YoYo000/BlendedMVS README, YoYo000/MVSNet's formats; map-anything's conversion reads it alike. Not
yet seen on a real scene.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import DataSet, if_there, stored_frame
from geometry.errors import reading
from geometry.formats.depth_files import read_pfm
from geometry.scenes.scene import Scene, check_pose


class BlendedMVS(DataSet):
    """Projects of BlendedMVS or BlendedMVG; the set's lists of projects can be given as ``scenes``."""

    holds = "BlendedMVS projects (<project>/blended_images)"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return {p.parent.name: p.parent for p in sorted(root.glob("*/blended_images"))}

    def _read(self, name: str, place: Path) -> Scene:
        frames = []
        for photo in sorted((place / "blended_images").glob("[!.]*.jpg")):
            if not photo.stem.endswith("_masked"):
                pose, K = read_cam(place / "cams" / f"{photo.stem}_cam.txt")
                depth = if_there(read_pfm, place / "rendered_depth_maps" / f"{photo.stem}.pfm")
                frames.append(stored_frame(photo, pose, K, depth=depth))
        return Scene(name=name, frames=tuple(frames), source=str(place / "cams"), folder=place)


def read_cam(path: Path) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """World-to-camera pose and intrinsics of an MVSNet cam file."""
    with reading(path, "an MVSNet camera file"):
        words = path.read_text(encoding="utf-8").split()
        if (words[0], words[17]) != ("extrinsic", "intrinsic"):
            raise ValueError("the words extrinsic and intrinsic are not where they belong")
        pose, K = np.array(words[1:17], dtype=np.float64), np.array(words[18:27], dtype=np.float64)
        pose, K = pose.reshape(4, 4), K.reshape(3, 3)
    check_pose(pose, str(path))
    return pose, K

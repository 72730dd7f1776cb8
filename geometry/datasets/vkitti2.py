"""Virtual KITTI 2: five driving scenes in ten variations, rendered, in metres.

Each kind of file comes in its own archive and folder; here they may also lie merged:

- ``vkitti_2.0.3_rgb/SceneXX/<variation>/frames/rgb/Camera_C/rgb_%05d.jpg`` (375 x 1242);
- ``vkitti_2.0.3_depth/.../frames/depth/Camera_C/depth_%05d.png``: uint16 centimetres along z, the far plane
  655.35 m (value 65535) where there is nothing;
- ``vkitti_2.0.3_classSegmentation/.../frames/classSegmentation/Camera_C/classgt_%05d.png``: colours, sky is
  (90, 200, 255); optional, without it sky is the far plane;
- ``vkitti_2.0.3_textgt/.../{intrinsic.txt, extrinsic.txt}``: a header line, then ``frame camera`` and
  ``fx fy cx cy``, or the 16 numbers of the world-to-camera matrix (OpenCV axes).

The principal point (620.5, 187) is that of an image of 1242 x 375 whose pixel centres are integers: half a
pixel is added. Cars move, so views of different frames agree on the static world only.

Licence: CC BY-NC-SA 3.0. Source: the set's page at Naver Labs Europe, and public loaders. Not yet seen on
a real scene.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from geometry.datasets.sources import DataSet, if_there, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_map
from geometry.formats.text import read_table
from geometry.scenes.scene import Scene, check_pose

_SKY = (90, 200, 255)
_FAR = 65535


class VirtualKitti2(DataSet):
    """Drives of Virtual KITTI 2; scene names are ``SceneXX/<variation>/Camera_C``.

    The root is the folder of the ``vkitti_2.0.3_*`` folders, or of the merged ``SceneXX`` folders.
    """

    holds = "drives of Virtual KITTI 2 (Scene*/*/frames/rgb/Camera_*)"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        places = sorted(_part(root, "rgb").glob("Scene*/*/frames/rgb/Camera_*"))
        return {f"{p.parents[3].name}/{p.parents[2].name}/{p.name}": p for p in places}

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether drives are there, in archives' folders or merged."""
        return any(root.glob("Scene*/*/frames/rgb")) or (root / "vkitti_2.0.3_rgb").is_dir()

    def _read(self, name: str, place: Path) -> Scene:
        scene, variation, camera = name.split("/")
        text = _part(self.base, "textgt") / scene / variation
        intrinsics = _read_numbers(text / "intrinsic.txt", 4, camera)
        extrinsics = _read_numbers(text / "extrinsic.txt", 16, camera)
        frames = []
        for photo in sorted(place.glob("rgb_*.jpg")):
            stem = photo.stem.removeprefix("rgb_")
            number = int(stem)
            if number not in intrinsics or number not in extrinsics:
                raise InputError(f"{text}: expected a camera of frame {number} of {camera}, found none")
            pose = extrinsics[number].reshape(4, 4)
            check_pose(pose, f"{text / 'extrinsic.txt'}, frame {number}")
            fx, fy, cx, cy = intrinsics[number]
            depth, classes = (
                _part(self.base, kind) / scene / variation / "frames" / kind / camera / f"{prefix}_{stem}.png"
                for kind, prefix in (("depth", "depth"), ("classSegmentation", "classgt"))
            )
            frames.append(
                stored_frame(
                    photo,
                    pose,
                    np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]]),
                    depth=if_there(read_png_depth, depth, unit=1e-2, beyond=_FAR),
                    sky=if_there(read_class_sky, classes) or if_there(read_far, depth),
                )
            )
        return Scene(name=name, frames=tuple(frames), source=str(text), metric=True, folder=place)


def _part(root: Path, kind: str) -> Path:
    folder = root / f"vkitti_2.0.3_{kind}"
    return folder if folder.is_dir() else root


def read_class_sky(path: Path) -> Bool[np.ndarray, "H W"]:
    """True on pixels of the sky's colour."""
    with reading(path, "class colours"), Image.open(path) as image:
        return (np.asarray(image.convert("RGB")) == _SKY).all(-1)


def read_far(path: Path) -> Bool[np.ndarray, "H W"]:
    """True at the far plane."""
    return read_map(path) == _FAR


def _read_numbers(path: Path, columns: int, camera: str) -> dict[int, np.ndarray]:
    """Frame -> numbers of one camera."""
    rows = read_table(path, columns + 2, f"frame, camera and {columns} numbers", header=1)
    return {int(row[0]): row[2:] for row in rows if f"Camera_{int(row[1])}" == camera}

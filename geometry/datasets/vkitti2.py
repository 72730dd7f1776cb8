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

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_header, read_map
from geometry.formats.text import read_table
from geometry.scenes.scene import Frame, Scene, check_pose

_SKY = (90, 200, 255)
_FAR = 65535


class VirtualKitti2(SceneSource):
    """Drives of Virtual KITTI 2; scene names are ``SceneXX/<variation>/Camera_C``.

    Args:
        root: folder of the ``vkitti_2.0.3_*`` folders, or of the merged ``SceneXX`` folders.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(self, root: str | Path, *, scenes: str | Path | Sequence[str] | None = None) -> None:
        self.root = existing_folder(root, "Virtual KITTI 2")
        rgb = self._part("rgb")
        names = [
            f"{p.parents[3].name}/{p.parents[2].name}/{p.name}"
            for p in sorted(rgb.glob("Scene*/*/frames/rgb/Camera_*"))
        ]
        self.names = scene_names(names, scenes, rgb, "drives (Scene*/*/frames/rgb/Camera_*)")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether drives are there."""
        return any(root.glob("Scene*/*/frames/rgb")) or (root / "vkitti_2.0.3_rgb").is_dir()

    def _part(self, kind: str) -> Path:
        folder = self.root / f"vkitti_2.0.3_{kind}"
        return folder if folder.is_dir() else self.root

    def read(self, name: str) -> Scene:
        scene, variation, camera = self._require(name, self.root).split("/")
        number = int(camera.split("_")[1])
        text = self._part("textgt") / scene / variation
        intrinsics = _read_table(text / "intrinsic.txt", 4, number)
        extrinsics = _read_table(text / "extrinsic.txt", 16, number)
        frames = []
        folder = self._part("rgb") / scene / variation / "frames" / "rgb" / camera
        for photo in sorted(folder.glob("rgb_*.jpg")):
            stem = photo.stem.removeprefix("rgb_")
            place = int(stem)
            if place not in intrinsics or place not in extrinsics:
                raise InputError(f"{text}: expected a camera of frame {place} of {camera}, found none")
            pose = extrinsics[place].reshape(4, 4)
            check_pose(pose, f"{text / 'extrinsic.txt'}, frame {place}")
            fx, fy, cx, cy = intrinsics[place]
            maps = Path(scene) / variation / "frames"
            depth = self._part("depth") / maps / "depth" / camera / f"depth_{stem}.png"
            classes = (
                self._part("classSegmentation") / maps / "classSegmentation" / camera / f"classgt_{stem}.png"
            )
            there = depth.is_file()
            frames.append(
                Frame(
                    name=photo.name,
                    image=photo,
                    image_size=read_header(photo).stored_size,
                    extrinsics=pose,
                    intrinsics=np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]]),
                    exif=False,
                    depth=partial(read_png_depth, depth, unit=1e-2, beyond=_FAR) if there else None,
                    sky=_sky(depth, classes),
                )
            )
        if not frames:
            raise InputError(f"{folder}: expected photos rgb_*.jpg, found none")
        return Scene(name=name, frames=tuple(frames), source=str(text), metric=True, folder=folder)


def _sky(depth: Path, classes: Path) -> partial | None:
    if classes.is_file():
        return partial(read_class_sky, classes)
    return partial(read_far, depth) if depth.is_file() else None


def read_class_sky(path: Path) -> Bool[np.ndarray, "H W"]:
    """True on pixels of the sky's colour."""
    try:
        with Image.open(path) as image:
            return (np.asarray(image.convert("RGB")) == _SKY).all(-1)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: expected class colours, could not read them ({error})") from error


def read_far(path: Path) -> Bool[np.ndarray, "H W"]:
    """True at the far plane."""
    return read_map(path) == _FAR


def _read_table(path: Path, columns: int, camera: int) -> dict[int, np.ndarray]:
    """Frame -> numbers of one camera."""
    rows = read_table(path, columns + 2, f"frame, camera and {columns} numbers", header=1)
    return {int(row[0]): row[2:] for row in rows if int(row[1]) == camera}

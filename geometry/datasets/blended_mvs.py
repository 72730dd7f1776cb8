"""BlendedMVS and BlendedMVG: textured meshes rendered and blended with their photos.

``<project>/{blended_images/%08d.jpg, cams/%08d_cam.txt, rendered_depth_maps/%08d.pfm}`` (``*_masked.jpg``
beside the photos are not read). A cam file has the word ``extrinsic``, a 4 x 4 world-to-camera matrix
(OpenCV axes), the word ``intrinsic``, a 3 x 3 matrix, and a line of depth bounds. Depth is z, 0 where the
mesh has nothing, scale arbitrary; a few maps are empty. Licence: CC BY 4.0.

The format does not say where pixel centres lie; (0.5, 0.5) is assumed, an error of half a pixel at most.

Source: YoYo000/BlendedMVS README, YoYo000/MVSNet's formats; map-anything's conversion reads it alike. Not
yet seen on a real scene.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_pfm
from geometry.formats.images import read_header
from geometry.scenes.scene import Frame, Scene, check_pose


class BlendedMVS(SceneSource):
    """Projects of BlendedMVS or BlendedMVG.

    Args:
        root: folder of the projects.
        scenes: project ids to take, or a file with one per line (the set's lists); None takes all.
    """

    def __init__(self, root: str | Path, *, scenes: str | Path | Sequence[str] | None = None) -> None:
        self.root = existing_folder(root, "BlendedMVS projects")
        names = [p.name for p in sorted(self.root.iterdir()) if (p / "blended_images").is_dir()]
        self.names = scene_names(names, scenes, self.root, "projects with blended_images")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether projects with blended images are there."""
        return any(root.glob("*/blended_images"))

    def read(self, name: str) -> Scene:
        folder = self.root / self._require(name, self.root)
        frames = []
        for photo in sorted((folder / "blended_images").glob("*.jpg")):
            if photo.stem.endswith("_masked"):
                continue
            pose, K = read_cam(folder / "cams" / f"{photo.stem}_cam.txt")
            depth = folder / "rendered_depth_maps" / f"{photo.stem}.pfm"
            frames.append(
                Frame(
                    name=photo.name,
                    image=photo,
                    image_size=read_header(photo).stored_size,
                    extrinsics=pose,
                    intrinsics=K,
                    exif=False,
                    depth=partial(read_pfm, depth) if depth.is_file() else None,
                )
            )
        if not frames:
            raise InputError(f"{folder}: expected photos blended_images/*.jpg, found none")
        return Scene(name=name, frames=tuple(frames), source=str(folder / "cams"), folder=folder)


def read_cam(path: Path) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """World-to-camera pose and intrinsics of an MVSNet cam file.

    Raises:
        InputError: the file is missing or has another form.
    """
    try:
        words = path.read_text(encoding="utf-8").split()
        if words[0] != "extrinsic" or words[17] != "intrinsic":
            raise ValueError("the words extrinsic and intrinsic are not where they belong")
        pose = np.array(words[1:17], dtype=np.float64).reshape(4, 4)
        K = np.array(words[18:27], dtype=np.float64).reshape(3, 3)
    except OSError as error:
        raise InputError(
            f"{path}: expected an MVSNet camera file, could not read it ({error.strerror})"
        ) from error
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: expected an MVSNet camera file, got another form ({error})") from None
    check_pose(pose, str(path))
    return pose, K

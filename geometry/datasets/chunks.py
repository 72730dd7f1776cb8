"""pixelSplat and DepthSplat chunk files: RealEstate10K, ACID, DL3DV as lists of compressed photos.

``<root>/<split>/{000000.torch, ..., index.json}``; index.json maps scene key to chunk file. A chunk is a
list of dicts: ``key``, ``url``, ``timestamps`` int64 [N], ``images`` (N uint8 tensors, each the bytes of a
JPEG or PNG), ``cameras`` float32 [N, 18] = fx / w, fy / h, cx / w, cy / h, 0, 0, then the 3 x 4
world-to-camera pose (OpenCV axes) row by row. No depth, arbitrary scale.

The files are pickles; torch reads them with ``weights_only``, which runs nothing of them, and maps them
into memory, so that one scene of a 200 MB chunk costs what the scene costs.

Source: cvg/depthsplat ``src/scripts/convert_dl3dv_train.py`` and its loader. Not yet tested on a real file.
"""

import io
import pickle
import zipfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from geometry.datasets.sources import (
    SCENE_HASH,
    SceneSource,
    existing_folder,
    read_hashes,
    scene_names,
)
from geometry.errors import InputError
from geometry.formats.text import read_json
from geometry.scenes.scene import Frame, Scene, check_pose


class Chunks(SceneSource):
    """Scenes of chunk files.

    Args:
        root: folder of the splits, or of one split itself.
        split: ``train`` or ``test``.
        exclude: a file of DL3DV hashes to leave out (`geometry.datasets.dl3dv`); None for other sets.
        scenes: keys to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        exclude: str | Path | None = None,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        root = existing_folder(root, "chunk files")
        self.root = root if (root / "index.json").is_file() else root / split
        index = self.root / "index.json"
        content = read_json(index, "the index of the chunk files")
        if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
            raise InputError(f"{index}: expected an object of scene key: chunk file")
        self._chunk_of = content
        hashes = frozenset() if exclude is None else read_hashes(exclude)
        names = [key for key in sorted(content) if not hashes.intersection(SCENE_HASH.findall(key))]
        self.names = scene_names(names, scenes, index, "scenes in the index")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder or one of its splits has an index of chunk files."""
        places = (root, root / "train", root / "test")
        return any((p / "index.json").is_file() and any(p.glob("*.torch")) for p in places)

    def read(self, name: str) -> Scene:
        path = self.root / self._chunk_of[self._require(name, self.root)]
        scenes = _load_chunk(path)
        for content in scenes:
            if isinstance(content, dict) and content.get("key") == name:
                return _scene(content, name, path)
        raise InputError(
            f"{path}: expected scene {name}, which the index places there, found {len(scenes)} others"
        )


@lru_cache(maxsize=2)  # the mapped file and its list of tensors, no pixels
def _load_chunk(path: Path) -> list:
    if not path.is_file():
        raise InputError(f"{path}: expected a chunk file, found no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: expected tensors and plain values only, got something else ({reason})"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"{path}: expected a .torch chunk, could not read it ({error})") from error
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of scenes, got a {type(content).__name__}")
    return content


def _scene(content: dict, name: str, path: Path) -> Scene:
    where = f"{path}, scene {name}"
    cameras, images = content.get("cameras"), content.get("images")
    if not isinstance(cameras, torch.Tensor) or cameras.ndim != 2 or cameras.shape[1] != 18:
        raise InputError(f"{where}: expected cameras [N, 18], got {getattr(cameras, 'shape', cameras)!r:.60}")
    if not isinstance(images, list) or len(images) != len(cameras):
        raise InputError(f"{where}: expected {len(cameras)} images, one per camera")
    frames = []
    for i, (camera, image) in enumerate(zip(cameras.double().numpy(), images)):
        frame = f"{where}, frame {i}"
        H, W = _decoded_size(image, frame)
        pose = np.eye(4)
        pose[:3] = camera[6:].reshape(3, 4)
        check_pose(pose, frame)
        fx, fy, cx, cy = camera[:4] * (W, H, W, H)
        frames.append(
            Frame(
                name=f"{i:06d}",
                image=partial(_decode, image, frame),
                image_size=(H, W),
                extrinsics=pose,
                intrinsics=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            )
        )
    return Scene(name=name, frames=tuple(frames), source=str(path), folder=path.parent)


def _open(image: torch.Tensor, where: str) -> Image.Image:
    if not isinstance(image, torch.Tensor) or image.dtype != torch.uint8 or image.ndim != 1:
        raise InputError(f"{where}: expected the bytes of a JPEG or PNG as uint8, got {type(image).__name__}")
    try:
        return Image.open(io.BytesIO(image.numpy().tobytes()))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{where}: expected a JPEG or PNG, could not read it ({error})") from error


def _decoded_size(image: torch.Tensor, where: str) -> tuple[int, int]:
    with _open(image, where) as opened:
        return opened.height, opened.width


def _decode(image: torch.Tensor, where: str) -> UInt8[np.ndarray, "H W 3"]:
    with _open(image, where) as opened:
        try:
            return np.array(opened.convert("RGB"))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise InputError(f"{where}: expected a whole image, got a damaged one ({error})") from error

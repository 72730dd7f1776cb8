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
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from geometry.datasets.sources import SCENE_HASH, DataSet, read_hashes, rigid
from geometry.errors import InputError, reading
from geometry.formats.images import decode
from geometry.formats.text import read_json
from geometry.scenes.scene import Frame, Scene


@dataclass(eq=False, kw_only=True)
class Chunks(DataSet):
    """Scenes of chunk files.

    Args:
        root: folder of the splits, or of one split itself.
        split: ``train`` or ``test``.
        exclude: a file of DL3DV hashes to leave out (`geometry.datasets.dl3dv`); None for other sets.
        scenes: keys to take, or a file with one per line; None takes all.
    """

    holds = "chunk files with scenes in their index.json"
    split: str = field(default="train", kw_only=False)
    exclude: str | Path | None = None

    def _list(self) -> dict[str, Path]:
        folder = self.base if (self.base / "index.json").is_file() else self.base / self.split
        index = folder / "index.json"
        chunk_of = read_json(index, "the index of the chunk files")
        if not isinstance(chunk_of, dict) or not all(isinstance(v, str) for v in chunk_of.values()):
            raise InputError(f"{index}: expected an object of scene key: chunk file")
        left_out = read_hashes(self.exclude)
        kept = (key for key in sorted(chunk_of) if not left_out.intersection(SCENE_HASH.findall(key)))
        return {key: folder / chunk_of[key] for key in kept}

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder or one of its splits has an index of chunk files."""
        places = (root, root / "train", root / "test")
        return any((p / "index.json").is_file() and any(p.glob("[!.]*.torch")) for p in places)

    def _read(self, name: str, place: Path) -> Scene:
        frames = tuple(_frames(place, name))
        return Scene(name=name, frames=frames, source=str(place), folder=place.parent)


@lru_cache(maxsize=2)  # the mapped file and its list of tensors, no pixels
def _load_chunk(path: Path) -> list:
    with reading(path, "a .torch chunk"):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{path}: expected tensors and plain values only, got something else ({reason})"
            ) from error
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of scenes, got a {type(content).__name__}")
    return content


def _scene(place: Path, name: str) -> tuple[Any, list]:
    """Cameras and photos of a scene."""
    scenes = _load_chunk(place)
    content = next((c for c in scenes if isinstance(c, dict) and c.get("key") == name), None)
    if content is None:
        raise InputError(
            f"{place}: expected scene {name}, which the index places there, found {len(scenes)} others"
        )
    where, cameras, images = f"{place}, scene {name}", content.get("cameras"), content.get("images")
    if not isinstance(cameras, torch.Tensor) or cameras.ndim != 2 or cameras.shape[1] != 18:
        raise InputError(f"{where}: expected cameras [N, 18], got {getattr(cameras, 'shape', cameras)!r:.60}")
    if not isinstance(images, list) or len(images) != len(cameras):
        raise InputError(f"{where}: expected {len(cameras)} images, one per camera")
    return cameras, images


def _frames(place: Path, name: str) -> list[Frame]:
    cameras, images = _scene(place, name)
    frames = []
    for i, (camera, image) in enumerate(zip(cameras.double().numpy(), images)):
        frame = f"{place}, scene {name}, frame {i}"
        with _open(image, frame) as opened:
            W, H = opened.size
        pose = camera[6:].reshape(3, 4)
        fx, fy, cx, cy = camera[:4] * (W, H, W, H)
        frames.append(
            Frame(
                name=f"{i:06d}",
                image=partial(read_photo, place, name, i),
                image_size=(H, W),
                extrinsics=rigid(pose[:, :3], pose[:, 3], frame),
                intrinsics=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            )
        )
    return frames


def _open(image: torch.Tensor, where: str) -> Image.Image:
    if not isinstance(image, torch.Tensor) or image.dtype != torch.uint8 or image.ndim != 1:
        raise InputError(f"{where}: expected the bytes of a JPEG or PNG as uint8, got {type(image).__name__}")
    with reading(where, "a JPEG or PNG"):
        return Image.open(io.BytesIO(image.numpy().tobytes()))


def read_photo(place: Path, name: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
    """A photo of a scene of a chunk file."""
    where = f"{place}, scene {name}, frame {index}"
    with _open(_scene(place, name)[1][index], where) as opened:
        return decode(opened, where, exif=False)

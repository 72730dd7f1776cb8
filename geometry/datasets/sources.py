"""What every reader of a data set offers, so that mixtures and checks know no data set.

A source lists the names of its scenes when it is made, cheaply, and reads one scene when asked. Reading
gives records of paths and cameras (`geometry.scenes.scene.Scene`); pixels and depth are decoded later.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from geometry.engine.samplers import SampleRequest
from geometry.errors import InputError, reading
from geometry.formats.images import read_header
from geometry.formats.text import read_text
from geometry.ops import se3
from geometry.scenes.scene import Frame, Scene, check_pose

SCENE_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
Choice = str | Path | Sequence[str] | None  # names, or a text file with one a line; None takes all


class SceneSource(ABC):
    """Named scenes. Indexing counts them: ``source[i]`` reads the i-th, ``len(source)`` is their number."""

    names: tuple[str, ...]

    @abstractmethod
    def read(self, name: str) -> Scene:
        """One scene by name.

        Raises:
            InputError: no such scene, or its files are damaged; the message names file and frame.
        """

    def draw(self, rng: np.random.Generator, request: SampleRequest) -> str:
        """The scene that a sample is made of: any, all alike."""
        return self.names[int(rng.integers(len(self)))]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Scene:
        return self.read(self.names[index])

    def _require(self, name: str, root: Path) -> str:
        if name not in self.names:
            raise InputError(
                f"{root}: expected a scene among {len(self.names)} ({self.names[0]}, ...), got {name}"
            )
        return name


@dataclass(eq=False)
class DataSet(SceneSource):
    """A set on disk whose scenes lie below one root.

    A subclass adds its options as fields, says what a root should hold, finds scenes in it (`find`, or
    `_list` where options matter) and reads one (`_read`).

    Args:
        root: folder of the set.
        scenes: names to take, or a text file with one per line (``#`` starts a comment); None takes all.

    Raises:
        InputError: no such folder, no scene in it, or not one that is listed.
    """

    holds: ClassVar[str]  # for messages

    root: str | Path
    _: KW_ONLY
    scenes: Choice = None

    def __post_init__(self) -> None:
        self.base = existing_folder(self.root, self.holds)
        self._places = self._list()
        self.names = chosen_scenes(list(self._places), self.scenes, self.base)
        if not self.names:  # most often a mistyped path
            raise InputError(f"{self.base}: expected {self.holds}, found none")

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        """Name -> place of the scenes, in order; none in another layout, or if a root does not tell."""
        return {}

    def _list(self) -> dict[str, Path]:
        return self.find(self.base)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder has this set's layout."""
        return root.is_dir() and bool(cls.find(root))

    def read(self, name: str) -> Scene:
        scene = self._read(name, self._places[self._require(name, self.base)])
        if not scene.frames:
            raise InputError(f"{scene.source}: expected posed frames of {name}, found none")
        return scene

    def camera_files(self, scene: Scene) -> list[Path]:
        """Files, or folders of them, that a scene's cameras were read from: when one changes, so do they."""
        return [Path(scene.source)]

    @abstractmethod
    def _read(self, name: str, place: Path) -> Scene:
        """The scene that `find` put at ``place``."""


def stored_frame(
    photo: Path,
    extrinsics: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    *,
    image_size: tuple[int, int] | None = None,
    **fields: Any,
) -> Frame:
    """A pinhole photo whose camera describes the stored pixels, whatever EXIF says.

    Args:
        image_size: (H, W) that the set states.
        fields: further fields of `Frame`.

    Raises:
        InputError: the photo cannot be read or has another size.
    """
    size = read_header(photo).stored_size
    if image_size not in (None, size):
        raise InputError(f"{photo}: expected size (H, W) {image_size} as the set states, got {size}")
    fields = {"name": photo.name, **fields}
    return Frame(
        image=photo, image_size=size, extrinsics=extrinsics, intrinsics=intrinsics, exif=False, **fields
    )


def rigid(
    rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, " 3"], where: str
) -> Float[np.ndarray, "4 4"]:
    """A checked pose; ``where`` names file and frame for the error."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    check_pose(pose, where)
    return pose


def inverted(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """World-to-camera from camera-to-world."""
    return se3.invert(torch.from_numpy(pose)).numpy()


def if_there(reader: Callable[..., np.ndarray], path: Path, *given: Any, **options: Any) -> partial | None:
    """The lazy loader ``reader(path, ...)`` of a map, None without its file."""
    return partial(reader, path, *given, **options) if path.is_file() else None


def photo_folder(folder: Path, names: Sequence[str] = ("images",)) -> Path:
    """The first sub-folder of these names that is there, else the folder itself."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def existing_folder(root: str | Path, wanted: str) -> Path:
    """The folder as a path; an `InputError` says that ``wanted`` should have been there."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: expected {wanted}, found no such folder")
    return root


def chosen_scenes(names: Sequence[str], scenes: Choice, root: Path) -> tuple[str, ...]:
    """Those of ``names`` that ``scenes`` lists, in its order; all of them without a list.

    Raises:
        InputError: a listed scene is not there.
    """
    if scenes is None:
        return tuple(names)
    wanted = read_names(Path(scenes)) if isinstance(scenes, (str, Path)) else list(scenes)
    missing = sorted(set(wanted) - set(names), key=wanted.index)
    if missing:
        raise InputError(
            f"{root}: expected {len(wanted)} listed scenes, {len(missing)} of them are not there "
            f"({missing[0]}, ...)"
        )
    return tuple(wanted)


def read_names(path: Path) -> list[str]:
    """Names of a text file, one per line; empty lines and what follows ``#`` do not count."""
    with reading(path, "a list of scenes as text"):
        lines = read_text(path.expanduser()).splitlines()
    names = [line.split("#")[0].strip() for line in lines]
    return [name for name in names if name]


def read_hashes(path: str | Path | None) -> frozenset[str]:
    """Every 64-digit scene hash in a text file of any form (a list, a CSV table, JSON); none without a file.

    Raises:
        InputError: the file cannot be read or holds no hash, so that an exclusion never excludes nothing.
    """
    if path is None:
        return frozenset()
    with reading(path, "a list of scene hashes"):
        text = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
    hashes = frozenset(SCENE_HASH.findall(text.lower()))
    if not hashes:
        raise InputError(f"{path}: expected scene hashes of 64 hexadecimal digits, found none")
    return hashes

"""`SceneSource`: what every reader of a data set offers, so that mixtures and checks know no data set.

A source lists the names of its scenes when it is made, cheaply, and reads one scene when asked. Reading
gives records of paths and cameras (`geometry.scenes.scene.Scene`); pixels and depth are decoded later.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from geometry.errors import InputError
from geometry.scenes.scene import Scene

SCENE_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class SceneSource(ABC):
    """A data set on disk. Subclasses set ``names`` in their constructor.

    Indexing counts scenes: ``source[i]`` reads the i-th, ``len(source)`` is their number.
    """

    names: tuple[str, ...]

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder has this set's layout; False where a folder alone does not tell."""
        return False

    @abstractmethod
    def read(self, name: str) -> Scene:
        """One scene by name.

        Raises:
            InputError: no such scene, or its files are damaged; the message names file and frame.
        """

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


def existing_folder(root: str | Path, wanted: str) -> Path:
    """The folder as a path.

    Raises:
        InputError: it does not exist; ``wanted`` says what should have been there.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: expected {wanted}, found no such folder")
    return root


def scene_names(
    names: Sequence[str], scenes: str | Path | Sequence[str] | None, root: Path, expected: str
) -> tuple[str, ...]:
    """`chosen_scenes`, refusing an empty list: a source without scenes is a mistyped path.

    Args:
        expected: what should have been in ``root``.
    """
    chosen = chosen_scenes(names, scenes, root)
    if not chosen:
        raise InputError(f"{root}: expected {expected}, found none")
    return chosen


def chosen_scenes(
    names: Sequence[str], scenes: str | Path | Sequence[str] | None, root: Path
) -> tuple[str, ...]:
    """Those of ``names`` that ``scenes`` lists, in its order; all of them without a list.

    Args:
        scenes: names, or a text file with one name per line (``#`` starts a comment).

    Raises:
        InputError: a listed scene is not there.
    """
    if scenes is None:
        return tuple(names)
    wanted = read_names(scenes) if isinstance(scenes, (str, Path)) else list(scenes)
    known = set(names)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InputError(
            f"{root}: expected {len(wanted)} listed scenes, {len(missing)} of them are not there "
            f"({missing[0]}, ...)"
        )
    return tuple(wanted)


def read_names(path: str | Path) -> list[str]:
    """Names of a text file, one per line; empty lines and what follows ``#`` do not count."""
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"{path}: expected a list of scenes, could not read it ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a list of scenes as text, got other bytes ({error})") from error
    names = [line.split("#")[0].strip() for line in lines]
    return [name for name in names if name]


def read_hashes(path: str | Path) -> frozenset[str]:
    """Every 64-digit scene hash in a text file of any form: a list, a CSV table, a JSON index.

    Raises:
        InputError: the file cannot be read or holds no hash, so that an exclusion never excludes nothing.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"{path}: expected a list of scene hashes, could not read it ({error.strerror})"
        ) from error
    hashes = frozenset(SCENE_HASH.findall(text.lower()))
    if not hashes:
        raise InputError(f"{path}: expected scene hashes of 64 hexadecimal digits, found none")
    return hashes

"""Archives of a download into the layout that a reader expects; can be interrupted and run again."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from geometry.errors import InputError

Place = Callable[[PurePosixPath], PurePosixPath | None]


def unpack(archive: Path, root: Path, place: Place) -> tuple[int, int]:
    """Write the archive's files under ``root``.

    A file that is there with its full size is left alone; others are written beside their place and
    renamed, so that what is there is always whole. Links and devices are not unpacked.

    Args:
        archive: .zip, or .tar with any compression.
        place: the path in the archive to the path under ``root``; None leaves the file out.

    Returns:
        Files written, and files that were already there.

    Raises:
        InputError: no archive, a damaged one, or a path that would lie outside ``root``.
    """
    written = present = 0
    try:
        for name, size, open_member in _members(archive):
            target_name = place(PurePosixPath(name))
            if target_name is None:
                continue
            if target_name.is_absolute() or ".." in target_name.parts:
                raise InputError(f"{archive}: expected paths inside the archive's folder, got {name}")
            target = root / target_name
            if target.is_file() and target.stat().st_size == size:
                present += 1
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # Not `atomic_file`, which flushes each of millions of files to disk; and under a fixed name the
            # next run writes over what an interrupted one left.
            part = target.with_name(f".{target.name}.part")
            with open_member() as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            os.replace(part, target)
            written += 1
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive}: expected a whole archive, could not read it ({error})") from error
    return written, present


def below(*markers: str, keep: int = 1) -> Place:
    """Cut what lies above the first folder whose name fits a marker, but for ``keep`` folders before it.

    ``below("blended_images", "cams")`` puts ``dataset/low/5a3c/cams/0.txt`` at ``5a3c/cams/0.txt``.
    """

    def place(path: PurePosixPath) -> PurePosixPath | None:
        for i, part in enumerate(path.parts):
            if any(fnmatchcase(part, marker) for marker in markers):
                return PurePosixPath(*path.parts[i - keep :]) if i >= keep else None
        return None

    return place


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of every regular file."""
    if not archive.is_file():
        raise InputError(f"{archive}: expected an archive, found no such file")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: opened.open(info)  # type: ignore[misc]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile():
                    yield member.name, member.size, lambda member=member: opened.extractfile(member)  # type: ignore[misc]
    else:
        raise InputError(f"{archive}: expected a .zip or .tar archive, got another file")

"""Output that is whole or absent: write beside, flush to disk, then rename.

A reader never meets a half-written file, and a failed run leaves nothing behind.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geometry.errors import InputError


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes ``path``, else it is deleted.

    The temporary name keeps the suffix, so writers that look at it (PNG, MP4, ...) work. An existing
    file is replaced only at the end, and keeps its old content if anything fails.

    Raises:
        InputError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    with _one_line(path):
        if path.is_dir():
            raise InputError(f"{path}: expected to write a file there, found a folder")
        made = _make_parents(path.parent)
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part{path.suffix}")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            made = []
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
            _remove_empty(made)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success its files appear in ``path``.

    If ``path`` is new the folder is renamed into place in one step. If it exists, the files written
    replace those of the same name one by one and every other file there stays: an output folder may
    hold files of the user's own, which are never deleted. On any exception ``path`` is as it was.

    Raises:
        InputError: ``path`` is a file, the disk is full, or the place cannot be written to.
    """
    path = Path(path)
    with _one_line(path):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: expected an output folder, found a file")
        made = _make_parents(path.parent)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
        try:
            temporary.mkdir()
            yield temporary
            files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
            for file in files:
                _flush(file)
            if path.is_dir():
                _merge(temporary, path, files)
            else:
                temporary.rename(path)
            _flush(path.parent)
            made = []
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _remove_empty(made)


def require_folder(path: Path | str) -> None:
    """Refuse now what `atomic_folder` would refuse after the work is done; leaves nothing behind.

    Raises:
        InputError: ``path`` is a file, or nothing can be written there.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected an output folder, found a file")
    with _one_line(path):
        made = _make_parents(path.parent)
        probe = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
        try:
            probe.mkdir()
        finally:
            _remove_empty([probe, *made])


def _merge(source: Path, target: Path, files: list[Path]) -> None:
    for file in files:  # look before the first move, so that a clash changes nothing
        place = target / file.relative_to(source)
        if place.is_dir() or any(p.exists() and not p.is_dir() for p in place.parents):
            raise InputError(f"{place}: expected to write a file there, a folder or file is in the way")
    for folder in sorted(p for p in source.rglob("*") if p.is_dir()):
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
    for file in files:
        file.replace(target / file.relative_to(source))


def _make_parents(folder: Path) -> list[Path]:
    """Create missing folders; return them, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
    return missing


def _flush(path: Path) -> None:
    """Put a file's contents, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Failures of the disk as one line that names the output."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: no space left on the disk; nothing was written") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT):
            raise InputError(f"{path}: cannot write there: {os.strerror(error.errno)}") from error
        raise

"""Output that is whole or absent: write beside, flush to disk, then rename.

A reader never meets a half-written file, and a failed run leaves nothing behind.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geometry.errors import InputError

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(r"\.(?P<name>.+)-(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-[0-9a-f]{8}\.part(\..*)?")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes ``path``, else it is deleted.

    The temporary name keeps the suffix, so writers that look at it (PNG, MP4, ...) work. An existing
    file is replaced only at the end, and keeps its old content if anything fails.

    Raises:
        InputError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    with _beside(path, path.suffix) as temporary:
        if path.is_dir():
            raise InputError(f"{path}: expected to write a file there, found a folder")
        temporary.touch(exist_ok=False)
        yield temporary
        flush(temporary)
        temporary.replace(path)


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
    with _new_folder_beside(path) as temporary:
        yield temporary
        files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
        for file in files:
            flush(file)
        if path.is_dir():
            _merge(temporary, path, files)
        else:
            temporary.rename(path)
        flush(path.parent)


def require_folder(path: Path | str) -> None:
    """Refuse now what `atomic_folder` would refuse after the work is done; leaves nothing behind.

    Raises:
        InputError: ``path`` is a file, or nothing can be written there.
    """
    with _new_folder_beside(Path(path)):
        pass


@contextmanager
def _new_folder_beside(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected an output folder, found a file")
    clear_leftovers(path.parent, path.name)
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes of this machine that were killed left unfinished in a folder.

    Args:
        name: of the output; None takes those of all.
    """
    with suppress(OSError):
        for left in folder.iterdir():
            match = _TEMPORARY.fullmatch(left.name)
            if match and match["host"] == HOST and name in (None, match["name"]) and not _runs(match["pid"]):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


@contextmanager
def _beside(path: Path, suffix: str = "") -> Iterator[Path]:
    """A temporary name in a path's folder; what is left of it, and folders made for nothing, go.

    Raises:
        InputError: a failure of the disk, in one line that names the output.
    """
    name = path.name.removesuffix(suffix)
    who = f"{HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{name}-{who}.part{suffix}")
    missing = [folder for folder in path.parents if not folder.exists()]  # innermost first
    try:
        if missing:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(f"{path}: no space left on the disk; nothing was written") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT):
            raise InputError(f"{path}: cannot write there: {os.strerror(error.errno)}") from error
        raise
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
        for folder in missing:
            with suppress(OSError):  # it holds the output now
                folder.rmdir()


def _merge(source: Path, target: Path, files: list[Path]) -> None:
    for file in files:  # look before the first move, so that a clash changes nothing
        place = target / file.relative_to(source)
        if place.is_dir() or any(p.exists() and not p.is_dir() for p in place.parents):
            raise InputError(f"{place}: expected to write a file there, a folder or file is in the way")
    for folder in sorted(p for p in source.rglob("*") if p.is_dir()):
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
    for file in files:
        file.replace(target / file.relative_to(source))


def flush(path: Path) -> None:
    """Put a file's contents, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

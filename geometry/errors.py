"""The one exception that a person causes, and how a command reports it."""

import csv
import errno
import os
import pickle
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from geometry.console import listening

# What damaged or hostile files make parsers raise: of numbers, JSON, pictures, archives, arrays, pickles.
DAMAGED = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError, SyntaxError, csv.Error, pickle.UnpicklingError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM)


class InputError(ValueError):
    """Something given by the caller cannot be used.

    The message is one line that names the file, what was expected and what was given. Commands print it
    and exit with status 2; a traceback would only hide it.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a name in a file may have a line break


class PhotoError(InputError):
    """A photo's own file cannot be read, whatever its camera."""


@contextmanager
def reading(where: object, expected: str) -> Iterator[None]:
    """What a missing, damaged or foreign file makes a parser raise becomes one `InputError`.

    Args:
        where: file, and what in it.
        expected: what should have been there.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{where}: expected {expected}, found no such file") from None
    except DAMAGED as error:
        said = (
            repr(error) if isinstance(error, LookupError) else getattr(error, "strerror", None) or str(error)
        )
        reason = (said.splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{where}: expected {expected}, could not read it ({reason})") from error


def run_command(main: Callable[[], int | None]) -> int:
    """Run a command's body and show its progress; bad input or a full disk is one line and exit status 2."""
    # What a person needs of a warning: not the line of code that raised it.
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    try:
        with listening():
            return main() or 0
    except BaseException as error:
        if _by_ctrl_c(error):
            print("interrupted", file=sys.stderr)
            return 130
        if isinstance(error, InputError):
            print(f"error: {error}", file=sys.stderr)
        elif isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            where = f" {error.filename}" if error.filename else ""
            print(f"error: cannot write{where}: {os.strerror(error.errno)}", file=sys.stderr)
        else:
            raise
        return 2


def _by_ctrl_c(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the bottom of it: a module written in C that it meets in its import fails."""
    seen: set[int] = set()  # an error raised again may stand in its own chain
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False

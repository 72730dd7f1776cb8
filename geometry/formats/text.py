"""JSON and tables of numbers, read with errors that name the file and what it should hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from geometry.errors import InputError


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file.

    Args:
        expected: what the file is, for messages: "a transforms.json", "the index of the chunk files".

    Raises:
        InputError: no such file, one that may not be read, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected {expected}, found no such file") from None
    except OSError as error:
        raise InputError(f"{path}: expected {expected}, could not read it ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # includes broken UTF-8
        raise InputError(f"{path}: expected JSON, {expected}, could not read it ({error})") from error


def read_table(path: Path, columns: int, expected: str, *, header: int = 0) -> Float[np.ndarray, "rows n"]:
    """Numbers in columns, one row a line.

    Args:
        expected: what a line holds, for messages.
        header: lines to pass over at the top.

    Raises:
        InputError: the file is missing, holds something else, or has another number of columns.
    """
    try:
        rows = np.loadtxt(path, dtype=np.float64, skiprows=header, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected lines of {expected}, could not read them ({error})") from error
    if rows.shape[1] != columns:
        raise InputError(f"{path}: expected {columns} numbers per line, {expected}, got {rows.shape[1]}")
    return rows

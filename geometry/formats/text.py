"""JSON and tables of numbers, read with errors that name the file and what it should hold."""

import codecs
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from geometry.errors import InputError, reading


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, also with the mark of Windows' programs in front, or in UTF-16."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file.

    Args:
        expected: what the file is, for messages: "a transforms.json", "the index of the chunk files".

    Raises:
        InputError: no such file, one that may not be read, or no JSON.
    """
    with reading(path, f"JSON, {expected}"):
        return json.loads(read_text(path))


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """As `read_json`, of a file that holds a JSON object."""
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, {expected}, got {type(content).__name__}")
    return content


def read_table(path: Path, columns: int, expected: str, *, header: int = 0) -> Float[np.ndarray, "rows n"]:
    """Numbers in columns, one row a line.

    Args:
        expected: what a line holds, for messages.
        header: lines to pass over at the top.

    Raises:
        InputError: the file is missing, holds something else, or has another number of columns.
    """
    with reading(path, f"lines of {expected}"):
        rows = np.loadtxt(io.StringIO(read_text(path)), dtype=np.float64, skiprows=header, ndmin=2)
    if rows.shape[1] != columns:
        raise InputError(f"{path}: expected {columns} numbers per line, {expected}, got {rows.shape[1]}")
    return rows

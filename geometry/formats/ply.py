"""PLY files: vertices as records of numbers, and coloured point clouds.

Written binary little-endian, the one form that every viewer reads. Read binary of either byte order.
"""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from geometry.atomic import atomic_file
from geometry.errors import InputError, reading

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_NAMES = {kind: name for name, kind in list(_TYPES.items())[:8]}
_LONGEST_HEADER = 1 << 20
_POINT = np.dtype([(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")])


def write_points(
    path: Path | str, points: Float[np.ndarray, "N 3"], colours: UInt8[np.ndarray, "N 3"]
) -> None:
    """Write a point cloud; colours are sRGB bytes."""
    vertices = np.rec.fromarrays([*points.T, *colours.T], dtype=_POINT)
    write_elements(path, [("vertex", _POINT, len(points), [vertices])])


def write_elements(
    path: Path | str,
    elements: Iterable[tuple[str, np.dtype, int, Iterable[np.ndarray]]],
    *,
    comments: Iterable[str] = (),
) -> None:
    """Write elements in turn: the name, little-endian fields, number and pieces (for memory) of each."""
    elements = list(elements)
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in comments)]
    for name, dtype, count, _ in elements:
        header.append(f"element {name} {count}")
        header += [f"property {_NAMES[dtype[field].str[1:]]} {field}" for field in dtype.names]
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        for name, dtype, count, chunks in elements:
            written = 0
            for chunk in chunks:
                file.write(chunk.astype(dtype, copy=False).tobytes())
                written += len(chunk)
            if written != count:
                raise ValueError(f"{path}: {count} elements {name!r} were announced and {written} given")


def read_elements(path: Path | str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Elements by name as structured arrays, up to the first after the vertices that holds lists; comments.

    Raises:
        InputError: no such file, not binary PLY, no vertices, cut short, or a list in or before the vertices.
    """
    path = Path(path)
    found: dict[str, np.ndarray] = {}
    with reading(path, "a PLY file"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        order, elements, comments = _read_header(file, path)
        for name, count, fields in elements:
            if fields is None and "vertex" in found:
                break
            if fields is None:
                raise InputError(f"{path}: expected numbers before the vertices, found a list in {name}")
            dtype = np.dtype([(field, order + kind) for field, kind in fields])
            if not fields or not 0 <= count * dtype.itemsize <= size - file.tell():
                raise InputError(
                    f"{path}: expected {count} elements {name!r} of {dtype.itemsize} bytes, too short"
                )
            found[name] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    if "vertex" not in found:
        raise InputError(f"{path}: expected an element 'vertex', found none")
    return found, comments


def require(vertices: np.ndarray, names: Iterable[str], path: Path | str) -> None:
    """Raise an InputError that names the first of these fields that is missing."""
    for name in names:
        if name not in (vertices.dtype.names or ()):
            raise InputError(f"{path}: expected a vertex property {name!r}, found none")


def _read_header(
    file: io.BufferedReader, path: Path
) -> tuple[str, list[tuple[str, int, list[tuple[str, str]] | None]], list[str]]:
    """Byte order; every element's name, count and fields (None if it holds lists); comments."""
    start = file.read(_LONGEST_HEADER)
    if not re.match(rb"ply\s", start):
        raise InputError(f"{path}: expected a PLY file, it does not start with 'ply'")
    header = re.match(rb"ply\s(.*?\n)end_header\r?\n", start, re.DOTALL)
    order: str | None = None
    elements: list[Any] = []
    comments: list[str] = []
    for line in header[1].decode("ascii", errors="replace").splitlines() if header else ():
        with reading(path, f"a PLY header with lines of its kinds, got {line!r}"):
            match line.split():
                case ["comment", *_]:
                    comments.append(line[8:].strip())
                case ["format", kind, *_]:
                    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(kind)
                    if order is None:
                        raise InputError(f"{path}: expected binary PLY, got format {kind}")
                case ["element", name, count]:
                    elements.append((name, int(count), []))
                case ["property", "list", *_]:
                    elements[-1] = (*elements[-1][:2], None)
                case ["property", kind, name] if elements[-1][2] is not None:
                    elements[-1][2].append((name, _TYPES[kind]))
    if order is None:
        raise InputError(f"{path}: expected a PLY header that ends with end_header, found none")
    file.seek(header.end())
    return order, elements, comments

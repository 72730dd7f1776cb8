"""PLY files: vertices as records of numbers, and coloured point clouds.

Written binary little-endian, the one form that every viewer reads. Read binary of either byte order.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from geometry.atomic import atomic_file
from geometry.errors import InputError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint",
          "f4": "float", "f8": "double"}  # fmt: skip
_LONGEST_HEADER = 1 << 20


def write_points(
    path: Path | str,
    points: Float[np.ndarray, "N 3"],
    colours: UInt8[np.ndarray, "N 3"] | None = None,
) -> None:
    """Write a point cloud; colours are sRGB bytes."""
    fields = [(name, "<f4") for name in "xyz"]
    if colours is not None:
        if len(colours) != len(points):
            raise ValueError(f"{path}: expected a colour per point, got {len(colours)} for {len(points)}")
        fields += [(name, "u1") for name in ("red", "green", "blue")]
    dtype = np.dtype(fields)

    def chunks(size: int = 1 << 18) -> Iterable[np.ndarray]:
        for start in range(0, len(points), size):
            part = slice(start, start + size)
            vertices = np.empty(len(points[part]), dtype)
            for k, name in enumerate("xyz"):
                vertices[name] = points[part, k]
            if colours is not None:
                for k, name in enumerate(("red", "green", "blue")):
                    vertices[name] = colours[part, k]
            yield vertices

    write_vertices(path, dtype, len(points), chunks())


def read_points(
    path: Path | str,
) -> tuple[Float[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"] | None]:
    """Points (float32) and their colours, None where the file has none.

    Raises:
        InputError: see `read_vertices`; or no x, y, z.
    """
    vertices = read_vertices(path)
    require(vertices, ("x", "y", "z"), path)
    points = np.stack([vertices[k].astype(np.float32) for k in ("x", "y", "z")], axis=-1)
    names = ("red", "green", "blue")
    if any(vertices.dtype.fields.get(n, (None,))[0] != np.uint8 for n in names):
        return points, None
    return points, np.stack([vertices[n] for n in names], axis=-1)


def write_vertices(path: Path | str, dtype: np.dtype, count: int, chunks: Iterable[np.ndarray]) -> None:
    """Write ``count`` vertices of little-endian number fields, given in pieces so that memory is bounded."""
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property {_NAMES[dtype[name].str[1:]]} {name}" for name in dtype.names]
    written = 0
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        for chunk in chunks:
            file.write(chunk.astype(dtype, copy=False).tobytes())
            written += len(chunk)
        if written != count:
            raise ValueError(f"{path}: {count} vertices were announced and {written} given")


def read_vertices(path: Path | str) -> np.ndarray:
    """The vertex element as a structured array; other elements (faces) are skipped.

    Raises:
        InputError: no such file, not binary PLY, cut short, or a list among the vertex properties.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            order, elements = _read_header(file, path)
            for name, count, fields in elements:
                if fields is None:
                    raise InputError(
                        f"{path}: expected plain numbers before the vertices, found a list in {name}"
                    )
                dtype = np.dtype([(field, order + kind) for field, kind in fields])
                size = count * dtype.itemsize
                if name == "vertex":
                    data = file.read(size)
                    if len(data) < size:
                        raise InputError(
                            f"{path}: expected {count} vertices of {dtype.itemsize} bytes, it is too short"
                        )
                    return np.frombuffer(data, dtype)
                file.seek(size, io.SEEK_CUR)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a PLY file, found no such file") from None
    raise InputError(f"{path}: expected an element 'vertex', found none")


def require(vertices: np.ndarray, names: Iterable[str], path: Path | str) -> None:
    """Raise an InputError that names the first of these fields that is missing."""
    for name in names:
        if name not in (vertices.dtype.names or ()):
            raise InputError(f"{path}: expected a vertex property {name!r}, found none")


def _read_header(
    file: io.BufferedReader, path: Path
) -> tuple[str, list[tuple[str, int, list[tuple[str, str]] | None]]]:
    """Byte order, and every element's name, count and fields (None if it holds lists)."""
    if file.readline(16).strip() != b"ply":
        raise InputError(f"{path}: expected a PLY file, it does not start with 'ply'")
    order: str | None = None
    elements: list[Any] = []
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(1024)
        words = line.decode("ascii", errors="replace").split()
        if not line.endswith(b"\n"):
            break
        try:
            match words:
                case ["end_header"]:
                    if order is None:
                        break
                    return order, elements
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
        except (IndexError, KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path}: expected a PLY header, cannot read the line {' '.join(words)!r}"
            ) from None
    raise InputError(f"{path}: expected a PLY header that ends with end_header, found none")

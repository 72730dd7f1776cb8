"""Depth as data sets store it: a float32 array [H, W], 0 where unknown.

Functions of a path, used through `functools.partial` as the lazy loaders of `Frame`, so that frames can
travel to worker processes.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from geometry.errors import InputError, reading
from geometry.formats.images import read_map


def read_png_depth(path: Path, *, unit: float = 1e-3, beyond: int | None = None) -> Float[np.ndarray, "H W"]:
    """Integer depth times ``unit``.

    Args:
        unit: scene units of one step; the default is millimetres to metres.
        beyond: stored values from this one on mean "unknown", for example the far plane.
    """
    stored = read_map(path)
    if stored.dtype.kind not in "ui" or stored.ndim != 2:
        raise InputError(f"{path}: expected integer depth [H, W], got {stored.dtype} {list(stored.shape)}")
    depth = stored.astype(np.float32) * np.float32(unit)
    if beyond is not None:
        depth[stored >= beyond] = 0
    return depth


def read_h5_depth(path: Path, *, dataset: str = "depth") -> Float[np.ndarray, "H W"]:
    """One dataset of an HDF5 file as float32.

    Raises:
        InputError: no HDF5 file, or no two-dimensional dataset of that name in it.
    """
    with reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
        if dataset not in file or file[dataset].ndim != 2:
            raise InputError(f"{path}: expected a dataset {dataset!r} [H, W], found {sorted(file)}")
        return np.asarray(file[dataset], dtype=np.float32)


def read_npy_depth(path: Path) -> Float[np.ndarray, "H W"]:
    """A .npy file of floating-point depth."""
    with reading(path, "depth as .npy"):
        depth = np.load(path, allow_pickle=False)
    if not isinstance(depth, np.ndarray) or depth.ndim != 2:
        raise InputError(f"{path}: expected depth [H, W], got {getattr(depth, 'shape', 'an archive')}")
    if depth.dtype.kind not in "fui":
        raise InputError(f"{path}: expected depth in numbers, got {depth.dtype}")
    return depth.astype(np.float32)


def read_pfm(path: Path) -> Float[np.ndarray, "H W"]:
    """A one-channel portable float map.

    Text header ``Pf``, width height, scale; a negative scale means little-endian. Rows are stored from
    the bottom up.
    """
    with reading(path, "a PFM depth map"):
        data = path.read_bytes()
    header = re.match(rb"(\S+)\s+(\d+)\s+(\d+)\s+(\S+)\s", data)  # white space of any kind between
    try:
        magic, width, height, scale = header[1], int(header[2]), int(header[3]), float(header[4])
    except (TypeError, ValueError):
        raise InputError(f"{path}: expected a PFM header, got {data[:24]!r}") from None
    offset, size = header.end(), 4 * width * height
    while data[offset : offset + 1] in (b"\r", b"\n") and len(data) - offset > size:
        offset += 1  # some writers end the header with more than one line break
    if magic != b"Pf" or len(data) - offset < size:
        raise InputError(
            f"{path}: expected a one-channel PFM of {width} x {height} floats, got {magic!r} with "
            f"{len(data) - offset} bytes"
        )
    rows = np.frombuffer(data, "<f4" if scale < 0 else ">f4", width * height, offset)
    return rows.reshape(height, width)[::-1].astype(np.float32)


def find_depth(folder: Path, stem: str, *, unit: float) -> Callable[[], Float[np.ndarray, "H W"]] | None:
    """Lazy loader of the depth file of a photo, found by the photo's stem; None where there is none.

    ``.png`` holds integers times ``unit``; ``.npy``, ``.pfm`` and ``.h5`` (dataset ``depth``) hold scene
    units themselves.
    """
    png = partial(read_png_depth, unit=unit)
    readers: dict[str, Callable[[Path], np.ndarray]]
    readers = {".png": png, ".npy": read_npy_depth, ".pfm": read_pfm, ".h5": read_h5_depth}
    paths = ((folder / f"{stem}{suffix}", reader) for suffix, reader in readers.items())
    return next((partial(reader, path) for path, reader in paths if path.is_file()), None)

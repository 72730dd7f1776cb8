"""Depth as data sets store it: a float32 array [H, W], 0 where unknown.

Functions of a path, used through `functools.partial` as the lazy loaders of `Frame`, so that frames can
travel to worker processes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from geometry.errors import InputError
from geometry.formats.images import read_map


def read_png_depth(
    path: Path, *, unit: float = 1e-3, invalid: Sequence[int] = (), beyond: int | None = None
) -> Float[np.ndarray, "H W"]:
    """Integer depth times ``unit``.

    Args:
        unit: scene units of one step; the default is millimetres to metres.
        invalid: stored values that mean "unknown" besides 0.
        beyond: stored values from this one on mean "unknown", for example the far plane.
    """
    stored = read_map(path)
    if stored.dtype.kind not in "ui" or stored.ndim != 2:
        raise InputError(f"{path}: expected integer depth [H, W], got {stored.dtype} {list(stored.shape)}")
    depth = stored.astype(np.float32) * np.float32(unit)
    for value in invalid:
        depth[stored == value] = 0
    if beyond is not None:
        depth[stored >= beyond] = 0
    return depth


def read_h5_depth(path: Path, *, dataset: str = "depth") -> Float[np.ndarray, "H W"]:
    """One dataset of an HDF5 file as float32.

    Raises:
        InputError: no HDF5 file, or no two-dimensional dataset of that name in it.
    """
    try:
        with h5py.File(path, "r") as file:
            if dataset not in file or file[dataset].ndim != 2:
                raise InputError(f"{path}: expected a dataset {dataset!r} [H, W], found {sorted(file)}")
            return np.asarray(file[dataset], dtype=np.float32)
    except OSError as error:
        raise InputError(f"{path}: expected an HDF5 file, could not read it ({error})") from error


def read_npy_depth(path: Path, *, beyond: float | None = None) -> Float[np.ndarray, "H W"]:
    """A .npy file of floating-point depth; values from ``beyond`` on become 0."""
    try:
        depth = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: expected depth as .npy, could not read it ({error})") from error
    if not isinstance(depth, np.ndarray) or depth.ndim != 2:
        raise InputError(f"{path}: expected depth [H, W], got {getattr(depth, 'shape', 'an archive')}")
    depth = depth.astype(np.float32)
    if beyond is not None:
        depth[depth >= beyond] = 0
    return depth


def read_pfm(path: Path) -> Float[np.ndarray, "H W"]:
    """A one-channel portable float map.

    Text header ``Pf``, width height, scale; a negative scale means little-endian. Rows are stored from
    the bottom up.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a PFM depth map, could not read it ({error.strerror})") from error
    fields: list[bytes] = []
    offset = 0
    while len(fields) < 4 and offset < len(data):  # magic, width, height, scale: any white space between
        end = offset
        while end < len(data) and data[end : end + 1] not in (b" ", b"\n", b"\t", b"\r"):
            end += 1
        if end > offset:
            fields.append(data[offset:end])
        offset = end + 1
    try:
        magic, width, height, scale = fields[0], int(fields[1]), int(fields[2]), float(fields[3])
    except (IndexError, ValueError):
        raise InputError(f"{path}: expected a PFM header, got {data[:24]!r}") from None
    while data[offset : offset + 1] in (b"\r", b"\n") and len(data) - offset > 4 * width * height:
        offset += 1  # some writers end the header with more than one line break
    if magic != b"Pf" or len(data) - offset < 4 * width * height:
        raise InputError(
            f"{path}: expected a one-channel PFM of {width} x {height} floats, got {magic!r} with "
            f"{len(data) - offset} bytes"
        )
    order = "<f4" if scale < 0 else ">f4"
    rows = np.frombuffer(data, order, width * height, offset).reshape(height, width)
    return rows[::-1].astype(np.float32)


def find_depth(folder: Path, stem: str, *, unit: float) -> Callable[[], Float[np.ndarray, "H W"]] | None:
    """Lazy loader of the depth file of a photo, found by the photo's stem; None where there is none.

    ``.png`` holds integers times ``unit``; ``.npy``, ``.pfm`` and ``.h5`` (dataset ``depth``) hold scene
    units themselves.
    """
    readers: dict[str, Callable[..., np.ndarray]] = {
        ".png": partial(read_png_depth, unit=unit),
        ".npy": read_npy_depth,
    }
    readers |= {".pfm": read_pfm, ".h5": read_h5_depth}
    for suffix, reader in readers.items():
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return partial(reader, path)
    return None

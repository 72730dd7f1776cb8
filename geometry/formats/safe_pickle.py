"""Object arrays in .npz files without running code that a pickle names.

``np.load(..., allow_pickle=True)`` executes code from the file. MegaDepth's index files need pickle for
arrays of None, tuples and dicts: here an unpickler knows numpy's arrays, dtypes and scalars and nothing else.
"""

import io
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from geometry.errors import InputError, reading

_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_NUMPY_CORES = ("numpy.core", "numpy._core")  # the name before and after numpy 2


class ForeignPickle(InputError):
    """A pickle that names other classes or functions than numpy's own types; nothing of it was run."""


def load_objects(path: str | Path) -> dict[str, Any]:
    """The arrays of an .npz archive (of ``np.savez``), or the dict of a bare pickle (LoFTR's test files).

    Raises:
        InputError: no such file, a damaged one, or one that asks for anything but numpy's own types.
    """
    path = Path(path)
    try:
        with reading(path, "an .npz archive of arrays"), path.open("rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return {
                        name.removesuffix(".npy"): _read_array(io.BytesIO(archive.read(name)))
                        for name in archive.namelist()
                    }
            file.seek(0)
            bare = file.read(6) == b"\x93NUMPY"  # np.save of a dict: an object array of no dimensions
            file.seek(0)
            content = _read_array(file) if bare else load_numpy_pickle(file)
            content = content.item() if bare and content.ndim == 0 else content
    except ForeignPickle as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected named arrays, got one {type(content).__name__}")
    return content


def load_numpy_pickle(file: io.BufferedIOBase) -> Any:
    """Unpickle plain Python values and numpy's own arrays, dtypes and scalars.

    Raises:
        ForeignPickle: it names anything else.
        ValueError, pickle.UnpicklingError: it is damaged.
    """
    content = file.read()
    for operation, argument, _ in pickletools.genops(content):
        # Memory is set aside for as many memories as the highest number says.
        if operation.name in _PUTS and argument > len(content):
            raise pickle.UnpicklingError(f"memory {argument} in {len(content)} bytes")
    return _NumpyUnpickler(io.BytesIO(content), encoding="latin1").load()  # as Python 2 pickled numpy's bytes


def _read_array(file: io.BufferedIOBase) -> np.ndarray:
    """One .npy: numpy reads plain ones itself, object arrays are a header followed by a pickle."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"unknown .npy version {version}")
    shape, _, dtype = readers[version](file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    array = load_numpy_pickle(file)
    if not isinstance(array, np.ndarray) or array.shape != tuple(shape):
        raise ValueError(f"header says {list(shape)}, content is {type(array).__name__}")
    return array


class _ArrayType:
    """Stands for the class ``numpy.ndarray`` inside a pickle: it can be named, not called."""


def _reconstruct(kind: type, shape: tuple, dtype: object) -> np.ndarray:
    """The empty array that a pickle then fills by ``__setstate__``."""
    if kind is not _ArrayType:
        raise pickle.UnpicklingError("expected a plain numpy array, got a subclass")
    return np.ndarray((0,), dtype="b")


def _scalar(dtype: np.dtype, data: object = None) -> object:
    """A numpy scalar from its bytes."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError(f"expected a scalar of a numeric type, got {dtype}")
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise pickle.UnpicklingError(f"expected {dtype.itemsize} bytes of a {dtype}, got {data!r:.40}")
    return np.frombuffer(data, dtype)[0]


def _frombuffer(
    data: object, dtype: np.dtype, shape: tuple, order: str, axis_order: object = None
) -> np.ndarray:
    """Arrays of pickle protocol 5 written in band."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or axis_order is not None:
        raise pickle.UnpicklingError(f"expected a numeric array, got {dtype} with axis order {axis_order}")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocols before 3 store bytes; only that one encoding."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"expected latin1 bytes, got encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., object] | type] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}
for _core in _NUMPY_CORES:
    _ALLOWED[(f"{_core}.multiarray", "_reconstruct")] = _reconstruct
    _ALLOWED[(f"{_core}.multiarray", "scalar")] = _scalar
    _ALLOWED[(f"{_core}.numeric", "_frombuffer")] = _frombuffer


class _NumpyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[(module, name)]
        except KeyError:
            raise ForeignPickle(
                f"expected a pickle of numpy arrays and plain values, got one that asks for {module}.{name}; "
                f"it was not run"
            ) from None

"""Tensors that lie on the disk: what is too much for memory, photo by photo."""

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError


def on_disk(shape: tuple[int, ...], folder: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor in a file without a name, mapped into memory: the system keeps of it what there is room for.

    The file goes when the tensor does, also when the process is killed.

    Args:
        folder: on the disk that shall hold it.

    Raises:
        InputError: the disk has no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = {torch.float32: np.float32, torch.float16: np.float16}[dtype]
    with tempfile.TemporaryFile(dir=folder) as file:
        size = max(1, math.prod(shape)) * np.dtype(kind).itemsize
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk would end the process later, unsaid
        except OSError as error:
            raise InputError(
                f"{folder}: expected {size / 1e9:.1f} GB of free disk for images or depth, got less"
            ) from error
        return torch.from_numpy(np.memmap(file, kind, mode="r+", shape=shape))


def empty(shape: tuple[int, ...], folder: Path | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """`on_disk` where there is a folder, else an ordinary tensor, to be filled."""
    return torch.empty(shape, dtype=dtype) if folder is None else on_disk(shape, folder, dtype)

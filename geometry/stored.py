"""Tensors that lie on the disk: what is too much for memory, photo by photo."""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def on_disk(shape: tuple[int, ...], folder: Path | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor in a file without a name, mapped into memory: the system keeps of it what there is room for.

    The file goes when the tensor does, also when the process is killed.

    Args:
        folder: on the disk that shall hold it; None is the system's for temporary files.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    kind = {torch.float32: np.float32, torch.float16: np.float16}[dtype]
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(max(1, math.prod(shape)) * np.dtype(kind).itemsize)
        return torch.from_numpy(np.memmap(file, kind, mode="r+", shape=shape))

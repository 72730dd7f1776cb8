"""Buffers that are used again: touching fresh memory costs more than the arithmetic done in it.

`take` lends an array; when the last reference to it is gone, its memory returns to the shelf by itself.
So a buffer held by autograd comes back when autograd frees it, whatever the order of calls.
"""

import math
import threading
import weakref

import numpy as np

ALIGNMENT = 64  # a cache line, and the widest vector
SMALLEST = 1 << 12


class Workspace:
    """A shelf of byte buffers. Lending and returning are safe from any thread."""

    def __init__(self, limit: int = 2 << 30) -> None:
        """``limit``: bytes kept on the shelf at most; what comes back beyond it is freed."""
        self.limit = limit
        self.shelf: list[np.ndarray] = []
        # Reentrant: a buffer may be returned by the garbage collector in the middle of `take`.
        self.lock = threading.RLock()

    def take(self, shape: int | tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
        """An aligned array with arbitrary content. Views of it do not keep it on loan; the array does."""
        shape = (shape,) if isinstance(shape, int) else shape
        needed = max(math.prod(shape) * np.dtype(dtype).itemsize, SMALLEST)
        with self.lock:
            fitting = [k for k, b in enumerate(self.shelf) if needed <= b.nbytes - ALIGNMENT <= 2 * needed]
            best = min(fitting, key=lambda k: self.shelf[k].nbytes, default=None)
            # A little room to spare, so that a slightly larger request fits next time.
            buffer = (
                np.empty(needed + needed // 8 + ALIGNMENT, np.uint8) if best is None else self.shelf.pop(best)
            )
        start = -buffer.ctypes.data % ALIGNMENT
        array = np.ndarray(shape, dtype, buffer=buffer, offset=start)
        weakref.finalize(array, self._give, buffer).atexit = False
        return array

    def _give(self, buffer: np.ndarray) -> None:
        with self.lock:
            if buffer.nbytes + self.held <= self.limit:
                self.shelf.append(buffer)

    @property
    def held(self) -> int:
        """Bytes on the shelf."""
        return sum(b.nbytes for b in self.shelf)

    def clear(self) -> None:
        """Free what is on the shelf."""
        with self.lock:
            self.shelf.clear()


workspace = Workspace()

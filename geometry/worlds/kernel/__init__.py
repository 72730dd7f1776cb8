"""The renderer, compiled by Numba: one ray at a time, traversal, texture and light fused in one pass.

Scalars are float64, so that depth is exact to rounding. Compiled without the global lock and without a
threading layer of its own: the caller splits rows among threads, which also works in forked workers.

Numba's cache on disk notices changes of a function's own file alone: delete ``__pycache__/*.nb?`` here after
editing a function that another file calls.
"""

from geometry.worlds.kernel.arrays import Arrays, arrays_of
from geometry.worlds.kernel.images import render_rows, smooth_rows
from geometry.worlds.kernel.shapes import inside

__all__ = ["Arrays", "arrays_of", "inside", "render_rows", "smooth_rows"]

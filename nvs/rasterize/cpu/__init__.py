"""The CPU backend: Numba kernels for projection and compositing, forward and backward.

`nvs.rasterize.cpu.view` calls the kernels in order; docs/rasterizer.md explains the algorithm.
"""

from nvs.rasterize.cpu.function import render

__all__ = ["render"]

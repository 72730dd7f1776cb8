"""The CPU backend: Numba kernels for projection and compositing, forward and backward.

`nvs.rasterizer.cpu.view` calls the kernels in order; docs/rasterizer.md explains the algorithm.
"""

from nvs.rasterizer.cpu.function import render

__all__ = ["render"]

"""Gaussians to images: gsplat on CUDA, our own kernels on the CPU, a readable PyTorch twin of both."""

from nvs.rasterizer.api import rasterize

__all__ = ["rasterize"]

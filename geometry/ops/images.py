"""Resizing of image tensors."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resize_images(images: Float[Tensor, "B V 3 h w"], size: tuple[int, int]) -> Float[Tensor, "B V 3 H W"]:
    """Antialiased bicubic resize to (H, W), in 0..1; intrinsics follow by `pinhole.resize_intrinsics`."""
    if images.shape[-2:] == tuple(size):
        return images
    flat = F.interpolate(images.flatten(0, 1), size=size, mode="bicubic", antialias=True).clamp(0, 1)
    return flat.unflatten(0, images.shape[:2])

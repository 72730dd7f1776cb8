"""Image sizes for rendering, and cameras that follow them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops.pinhole import resize_intrinsics
from geometry.sampling.preprocess import PixelMap
from geometry.views import Cameras
from nvs.options import LONG_SIDE


def window_size(maps: Sequence[PixelMap]) -> tuple[int, int]:
    """(H, W) of the part of the photos that the network sees, in pixels of the photo of the median shape.

    The network's own images are of nearly that shape: multiples of its patch.
    """
    windows = [(m.network_size[0] / m.scale[1], m.network_size[1] / m.scale[0]) for m in maps]
    H, W = sorted(windows, key=lambda s: (s[1] / s[0], s))[len(windows) // 2]
    return round(H), round(W)


def default_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the same shape with the long side at `LONG_SIDE`, both even, as video codecs need."""
    return scaled_size(image_size, LONG_SIDE)


def scaled_size(image_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) of the same shape with another long side, both even."""
    H, W = image_size
    factor = long_side / max(H, W)
    return max(2, round(H * factor / 2) * 2), max(2, round(W * factor / 2) * 2)


def fit_cameras(cameras: Cameras, old: tuple[int, int], new: tuple[int, int]) -> Cameras:
    """Cameras for another image size and shape: scaled to cover it, cut at the centre, pixels square."""
    return replace(cameras, intrinsics=fit_intrinsics(cameras.intrinsics, old, new))


def fit_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "*batch 3 3"]:
    """Those of `fit_cameras`."""
    (h, w), (H, W) = old, new
    factor = max(H / h, W / w)
    K = resize_intrinsics(intrinsics, (1, 1), (factor, factor))
    shift = torch.zeros_like(K)
    shift[..., 0, 2], shift[..., 1, 2] = (w * factor - W) / 2, (h * factor - H) / 2
    return K - shift

"""Images on disk and beside each other."""

import math
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

Image = UInt8[np.ndarray, "_ _ 3"]


def to_bytes(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Image tensor in 0..1 as RGB bytes, rounded; what is outside is clipped."""
    return (image.movedim(0, -1).clamp(0, 1) * 255).round().byte().cpu().numpy()


def write_image(path: Path | str, image: Image) -> None:
    """Write RGB bytes in the format of the name's ending (.png, .jpg)."""
    _write(Path(path), image[..., ::-1])


def write_depth(path: Path | str, depth: Float[np.ndarray, "H W"], unit: float) -> None:
    """Write depth as a 16-bit PNG in steps of ``unit``.

    0 is unknown: not positive or not finite. 65535 is that many units or more.
    """
    known = np.isfinite(depth) & (depth > 0)
    steps = np.clip(np.round(np.where(known, depth, unit) / unit), 1, 65535)
    _write(Path(path), np.where(known, steps, 0).astype(np.uint16))


def depth_unit(depth: Float[np.ndarray, "*views H W"]) -> float:
    """A power of ten for `write_depth`: the median depth is 1000 to 10000 of it, as of a room in millimetres.

    So steps are 0.01 to 0.1 % of the median depth, and 6 to 65 times that depth fits into 16 bits. 0.001
    where no depth is positive and finite.
    """
    values = depth[np.isfinite(depth) & (depth > 0)]
    if len(values) == 0:
        return 1e-3
    return 10.0 ** (math.floor(math.log10(float(np.median(values)))) - 3)


def _write(path: Path, pixels: np.ndarray) -> None:
    # A frame should not take longer to store than to render. One filter for all rows takes half the time of
    # a choice for each, for files a sixth larger.
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    quick += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    options = quick if path.suffix.lower() == ".png" else []
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise ValueError(f"{path}: cannot encode an image of shape {pixels.shape}")
    path.write_bytes(data.tobytes())


def resized(image: Image, height: int) -> Image:
    """Image of this height, its aspect kept; averaged when made smaller."""
    h, w = image.shape[:2]
    if h == height:
        return image
    size = (max(1, round(w * height / h)), height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if height < h else cv2.INTER_LINEAR)


def even_padded(image: Image) -> Image:
    """Image of even height and width, the last row and column repeated where needed: video codecs need it."""
    H, W = image.shape[:2]
    return np.pad(image, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge") if H % 2 or W % 2 else image

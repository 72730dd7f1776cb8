"""Images on disk and beside each other."""

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
    path = Path(path)
    # Fast compression: a frame of a video should not take longer to store than to render.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if path.suffix.lower() == ".png" else []
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise ValueError(f"{path}: cannot encode an image of shape {image.shape}")
    path.write_bytes(data)


def side_by_side(*images: Image, gap: int = 0) -> Image:
    """Images in a row, brought to the height of the first with their aspect kept; black between them."""
    height = images[0].shape[0]
    row = []
    for image in images:
        if row and gap:
            row.append(np.zeros((height, gap, 3), np.uint8))
        row.append(resized(image, height))
    return np.concatenate(row, axis=1)


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

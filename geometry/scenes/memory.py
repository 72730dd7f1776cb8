"""Images that a program holds already, as a scene: arrays, tensors, Pillow images."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from geometry.errors import InputError
from geometry.formats.images import upright_size
from geometry.scenes.scene import Frame, Scene

FORMS = "uint8 arrays [H, W, 3 or 4], float arrays in 0..1, tensors [3 or 4, H, W] in 0..1 or Pillow images"


def as_list(images: Any) -> list[Any]:
    """Images one by one, of one image, a stack of them [V, ...] or a sequence."""
    if isinstance(images, (np.ndarray, torch.Tensor, Image.Image)):
        return list(images) if getattr(images, "ndim", 3) == 4 else [images]  # type: ignore[arg-type]
    return list(images)


def scene_of(images: Sequence[Any]) -> Scene:
    """Unposed scene; frames are named by number and hold references to the images, no copies but of RGBA.

    Pillow images are turned upright as their EXIF says and decoded when their frame is loaded. Where an image
    is transparent is as in a file: ignored, unless a background is stated.

    Raises:
        InputError: something is no such image; the message says which.
    """
    frames = []
    for index, image in enumerate(images):
        where = f"photos[{index}]"
        held = image if isinstance(image, Image.Image) else _checked(image, where)
        if isinstance(held, np.ndarray) and held.shape[2] == 4:
            held = Image.fromarray(_bytes(held))
        if isinstance(held, Image.Image):
            size, transparent = upright_size(held), held.has_transparency_data
        else:
            size, transparent, held = held.shape[:2], False, partial(_bytes, held)
        H, W = map(int, size)
        frames.append(Frame(name=f"{index:04d}.png", image=held, image_size=(H, W), transparent=transparent))
    return Scene(name="photos", frames=tuple(frames))


def _checked(image: Any, where: str) -> np.ndarray:
    """The image as an array [H, W, 3 or 4], bytes or floating point in 0..1."""
    if isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.shape[0] not in (3, 4):
            raise InputError(f"{where}: expected a tensor [3 or 4, H, W], got {list(image.shape)}")
        image = image.detach().movedim(0, -1).cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    elif not isinstance(image, np.ndarray):
        raise InputError(f"{where}: expected {FORMS}, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise InputError(f"{where}: expected an array [H, W, 3 or 4], got {list(image.shape)}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"{where}: expected uint8 or floating-point pixels, got {image.dtype}")
    low, high = float(image.min(initial=0)), float(image.max(initial=0))
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # NaN is refused too
        raise InputError(
            f"{where}: expected floating-point pixels in 0..1, got {low:g}..{high:g}; bytes are uint8"
        )
    return image


def _bytes(pixels: np.ndarray) -> UInt8[np.ndarray, "H W C"]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)

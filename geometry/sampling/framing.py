"""From photos of any shape to one image size: which window of a photo is shown, and how.

A window is a rectangle of whole photo pixels, resized to the wanted size, so a `PixelMap` (one scale and
one offset per axis) says exactly where every pixel went, and intrinsics follow it exactly.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from geometry.sampling.preprocess import PixelMap
from geometry.scenes.scene import Frame
from geometry.views import Cameras, Views


def frame_window(
    photo_size: tuple[int, int],
    image_size: tuple[int, int],
    *,
    zoom: float = 1.0,
    stretch: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    centre: tuple[float, float] | None = None,
) -> PixelMap:
    """The largest window of the given shape that fits the photo, made smaller and moved.

    Args:
        photo_size: (H, W) of the photo.
        image_size: (H, W) wanted.
        zoom: the window's sides are divided by this, >= 1.
        stretch: the window's aspect ratio differs by this factor, so that the image is stretched.
        shift: (x, y) in -1..1, how far the window moves towards the photo's borders.
        centre: (x, y) photo pixels to centre on where there is room, for example the principal point;
            None takes the photo's centre.
    """
    (H, W), (h, w) = photo_size, image_size
    aspect = w / h * stretch
    width, height = min(W, H * aspect), min(H, W / aspect)
    width, height = (max(1, min(side, round(s / zoom))) for s, side in ((width, W), (height, H)))
    middle = (W / 2, H / 2) if centre is None else centre
    left = _place(middle[0] - width / 2, W - width, shift[0])
    top = _place(middle[1] - height / 2, H - height, shift[1])
    whole = PixelMap(photo_size=photo_size, network_size=photo_size)
    return whole.cropped((height, width), left=left, top=top).resized(tuple(image_size))  # type: ignore[arg-type]


def show_photo(photo: UInt8[np.ndarray, "h w 3"], window: PixelMap) -> UInt8[np.ndarray, "H W 3"]:
    """The window's pixels at its size: areas averaged when shrinking, cubic when a side grows."""
    (left, top), (right, bottom) = (np.rint(window.to_photo(p)).astype(int) for p in _corners(window))
    cut = photo[top:bottom, left:right]
    H, W = window.network_size
    grows = cut.shape[0] < H or cut.shape[1] < W
    return cv2.resize(cut, (W, H), interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA)


def show_frames(frames: Sequence[Frame], windows: Iterable[Sequence[PixelMap]]) -> list[Views]:
    """Photos in one or more windows each: a `Views` of batch size one for the first windows, the second, ...

    Every photo is decoded once and not kept. Cameras are there if all frames have them.
    """
    posed = all(frame.extrinsics is not None and frame.intrinsics is not None for frame in frames)
    images, intrinsics = [], []
    for frame, shown in zip(frames, windows, strict=True):
        photo = frame.load()
        images.append([torch.from_numpy(np.ascontiguousarray(show_photo(photo, w))) for w in shown])
        intrinsics.append([w.network_intrinsics(frame.intrinsics) if posed else None for w in shown])
    pixels = [(torch.stack(stack).permute(0, 3, 1, 2).float() / 255)[None] for stack in zip(*images)]
    if not posed:
        return [Views(images=each) for each in pixels]
    extrinsics = torch.from_numpy(np.stack([frame.extrinsics for frame in frames]))[None].float()
    cameras = [
        Cameras(extrinsics=extrinsics, intrinsics=torch.from_numpy(np.stack(K))[None].float())
        for K in zip(*intrinsics)
    ]
    return [Views(images=each, cameras=camera) for each, camera in zip(pixels, cameras)]


def show_map(values: np.ndarray, window: PixelMap) -> np.ndarray:
    """A map of the photo (depth, mask; any resolution) in the window, by nearest pixel: nothing is mixed.

    Each image pixel takes the value of the map's pixel that holds its centre.
    """
    (H, W), (h, w) = window.network_size, values.shape
    x, _ = window.to_photo(np.stack((np.arange(W) + 0.5, np.zeros(W)), axis=-1)).T
    _, y = window.to_photo(np.stack((np.zeros(H), np.arange(H) + 0.5), axis=-1)).T
    photo_h, photo_w = window.photo_size
    columns = np.clip(np.floor(x * (w / photo_w)), 0, w - 1).astype(int)
    rows = np.clip(np.floor(y * (h / photo_h)), 0, h - 1).astype(int)
    return values[rows[:, None], columns]


def mirror(
    extrinsics: Float[np.ndarray, "*V 4 4"], intrinsics: Float[np.ndarray, "*V 3 3"], width: int
) -> tuple[Float[np.ndarray, "*V 4 4"], Float[np.ndarray, "*V 3 3"]]:
    """Cameras of images flipped left to right, in the world mirrored at x = 0.

    A flipped image is no view of the same world, but flipped images are views of one mirrored world:
    F E F with F = diag(-1, 1, 1, 1) is a rotation again. All views of a scene must be flipped together.
    """
    F = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip_pixels = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
    return F @ extrinsics @ F, flip_pixels @ intrinsics @ F[:3, :3]


def _place(start: float, slack: int, shift: float) -> int:
    start = min(max(start, 0.0), float(slack))
    return round(start + (slack - start if shift > 0 else start) * shift)


def _corners(window: PixelMap) -> tuple[np.ndarray, np.ndarray]:
    H, W = window.network_size
    return np.zeros(2), np.array([W, H], dtype=np.float64)

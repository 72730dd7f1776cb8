"""Photos to network input: the released preprocessing, and one for photos of mixed sizes.

Every step here is a resize or a cut along the pixel grid, so how network pixels lie in the photo is
one scale and one offset per axis: a `PixelMap`. Intrinsics follow it exactly.

Source: DA3 (arXiv:2511.10647), released code; ``released_*`` reproduce it to the pixel. The default of
`prepare_views` differs from it only where photos would come out in different sizes.
"""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from geometry.errors import InputError
from geometry.scenes.scene import Frame, Scene
from geometry.stored import empty
from geometry.views import Cameras, Views

PATCH = 14


@dataclass(frozen=True, kw_only=True)
class PixelMap:
    """Where network pixels lie in a photo: ``network = photo * scale - offset``, per axis (x, y)."""

    photo_size: tuple[int, int]  # (H, W) of what `Frame.load` returns
    network_size: tuple[int, int]  # (H, W)
    scale: tuple[float, float] = (1.0, 1.0)  # network pixels per photo pixel, x and y
    offset: tuple[float, float] = (0.0, 0.0)  # network pixels cut off left and top

    @property
    def kept(self) -> float:
        """Part of the photo's area that the network sees, 0..1."""
        return min(1.0, math.prod(self.network_size) / math.prod((*self.photo_size, *self.scale)))

    def to_photo(self, pixels: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Photo pixels (x, y) of network pixels."""
        return (np.asarray(pixels) + self.offset) / self.scale

    def network_intrinsics(self, intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """Intrinsics of the network image from those of the photo."""
        (sx, sy), (left, top) = self.scale, self.offset
        return np.array([[sx, 0, -left], [0, sy, -top], [0, 0, 1]]) @ intrinsics

    def photo_intrinsics(self, intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """Intrinsics of the photo from those of the network image."""
        return np.linalg.inv(self.network_intrinsics(np.eye(3))) @ intrinsics

    def resized(self, size: tuple[int, int]) -> "PixelMap":
        """This map followed by a resize of the network image to (H, W)."""
        sy, sx = size[0] / self.network_size[0], size[1] / self.network_size[1]
        return replace(
            self,
            network_size=size,
            scale=(self.scale[0] * sx, self.scale[1] * sy),
            offset=(self.offset[0] * sx, self.offset[1] * sy),
        )

    def cropped(self, size: tuple[int, int], *, left: int, top: int) -> "PixelMap":
        """This map followed by a cut to (H, W) from column ``left`` and row ``top``."""
        return replace(self, network_size=size, offset=(self.offset[0] + left, self.offset[1] + top))


def whole_photo(size: tuple[int, int]) -> PixelMap:
    """The map of a photo of (H, W) as it is."""
    return PixelMap(photo_size=size, network_size=size)


def released_resize(
    image: UInt8[np.ndarray, "h w 3"], process_res: int = 504, method: str = "upper_bound_resize"
) -> tuple[UInt8[np.ndarray, "H W 3"], PixelMap]:
    """Two resizes, or a resize and a crop, to sides divisible by the patch size.

    First the longest (``upper_bound``) or shortest (``lower_bound``) side becomes ``process_res``, then
    each side goes to the nearest multiple of 14 (``resize``; ties go up) or is cut to the multiple
    below (``crop``). Enlarging is cubic, shrinking averages areas; pixels are 8-bit in between.
    """
    bounded = _bounded_size(image.shape[:2], process_res, method)
    final = _patch_size(bounded, method)
    pixel_map = whole_photo(image.shape[:2]).resized(bounded)
    image = resize(image, bounded)
    if method.endswith("_crop"):
        (h, w), (H, W) = bounded, final
        return cut(image, pixel_map, final, left=(w - W) // 2, top=(h - H) // 2)
    return resize(image, final), pixel_map.resized(final)


def released_size(image_size: tuple[int, int], process_res: int, method: str) -> tuple[int, int]:
    """(H, W) that `released_resize` gives to a photo of (H, W)."""
    return _patch_size(_bounded_size(image_size, process_res, method), method)


def prepare_views(
    scene: Scene,
    indices: Iterable[int] | None = None,
    *,
    process_res: int = 504,
    released_crop: bool = False,
    store: Path | None = None,
) -> tuple[Views, tuple[PixelMap, ...]]:
    """Network input of some of a scene's photos, and how its pixels lie in each photo.

    Photos whose released sizes agree are prepared exactly as the released code does. Otherwise the
    network, which takes one size, needs a decision:

    - by default all photos share the shape of the middle one: a canvas with the median of
      their aspect ratios, in logarithm, which is the shape that loses the least in sum. Each photo is
      scaled to cover it and cut at the centre. A few portraits among landscapes lose top and bottom,
      an even mix meets near a square, and photos that differ by some pixels lose just those. Content
      cut from one photo is usually seen in another; bars, which the network never saw in training,
      would be given a depth.
    - ``released_crop``, as the released code: every photo is prepared on its own, then all are cut to
      the smallest height and width among them, at their different scales.

    Only the chosen photos are decoded, each by one of at most eight threads that keep no more than
    the photo at hand.

    Args:
        indices: frames of the scene, in the order wanted; None takes all.
        process_res: longest side of the network image, before rounding to multiples of 14.
        store: a folder on whose disk the images shall lie; None: in memory.

    Returns:
        Views of batch size one, with cameras if every chosen frame has one, and one map per view.

    Raises:
        InputError: a photo is damaged or too small, or ``process_res`` is below one patch.
    """
    if process_res < PATCH:
        raise InputError(f"process_res: expected at least {PATCH} pixels, one patch, got {process_res}")
    frames = [scene.frames[i] for i in (range(len(scene)) if indices is None else indices)]
    if not frames:
        raise InputError(f"{scene.name}: expected at least one photo, got none")
    sizes = [released_size(frame.image_size, process_res, "upper_bound_resize") for frame in frames]
    released_crop = released_crop or len(set(sizes)) == 1
    if released_crop:
        canvas = min(h for h, _ in sizes), min(w for _, w in sizes)
    else:
        canvas = _common_canvas([frame.image_size for frame in frames], process_res)
    images = empty((1, len(frames), 3, *canvas), store)

    def prepare(view: int) -> tuple[PixelMap, np.ndarray | None]:
        pixels = frames[view].load()
        if released_crop:
            pixels, pixel_map = released_resize(pixels, process_res)
            top, left = (round((pixels.shape[axis] - canvas[axis]) / 2) for axis in (0, 1))
            pixels, pixel_map = cut(pixels, pixel_map, canvas, left=left, top=top)
        else:
            pixels, pixel_map = _cover(pixels, canvas)
        pixels = np.require(pixels, requirements=["C", "W"])
        images[0, view] = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0
        return pixel_map, show_mask(frames[view].load_mask(), pixel_map)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1, len(frames))) as threads:
        maps, masks = zip(*threads.map(prepare, range(len(frames))))
    views = Views(images=images, cameras=network_cameras(frames, maps), mask=stacked_masks(masks, canvas))
    return views, maps


def show_photo(photo: UInt8[np.ndarray, "h w *rgb"], window: PixelMap) -> UInt8[np.ndarray, "H W *rgb"]:
    """The window's pixels at its size."""
    H, W = window.network_size
    (left, top), (right, bottom) = np.rint(window.to_photo(np.array([[0.0, 0.0], [W, H]]))).astype(int)
    pixels = photo[max(0, top) : bottom, max(0, left) : right]
    return np.require(resize(pixels, (H, W)), requirements=["C", "W"])


def show_mask(keep: Bool[np.ndarray, "h w"] | None, window: PixelMap) -> Bool[np.ndarray, "H W"] | None:
    """A photo's mask in the window: True where all that a pixel shows may be used."""
    return None if keep is None else show_photo(keep.astype(np.uint8) * 255, window) >= 254


def stacked_masks(
    masks: Sequence[Bool[np.ndarray, "H W"] | None], size: tuple[int, int]
) -> Bool[Tensor, "1 V H W"] | None:
    """Masks of all views; None where none has any."""
    if all(mask is None for mask in masks):
        return None
    return torch.from_numpy(np.stack([np.ones(size, bool) if m is None else m for m in masks]))[None]


def network_cameras(frames: Sequence[Frame], maps: Sequence[PixelMap]) -> Cameras | None:
    """Cameras of prepared photos, batch size one, float32; None if a frame has none."""
    if any(frame.extrinsics is None or frame.intrinsics is None for frame in frames):
        return None
    intrinsics = np.stack([m.network_intrinsics(f.intrinsics) for f, m in zip(frames, maps)])
    extrinsics = np.stack([frame.extrinsics for frame in frames])
    return Cameras(
        extrinsics=torch.from_numpy(extrinsics)[None].float(),
        intrinsics=torch.from_numpy(intrinsics)[None].float(),
    )


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels at (H, W): cubic if any side grows, areas averaged otherwise."""
    (h, w), (H, W) = image.shape[:2], size
    if (h, w) == (H, W):
        return image
    return cv2.resize(image, (W, H), interpolation=cv2.INTER_CUBIC if h < H or w < W else cv2.INTER_AREA)


def cut(
    image: np.ndarray, pixel_map: PixelMap, size: tuple[int, int], *, left: int, top: int
) -> tuple[np.ndarray, PixelMap]:
    """(H, W) pixels of a photo's image, and their map."""
    pixels = image[top : top + size[0], left : left + size[1]]
    return pixels, pixel_map.cropped(size, left=left, top=top)


def _bounded_size(size: tuple[int, int], process_res: int, method: str) -> tuple[int, int]:
    side = max(size) if method.startswith("upper_bound") else min(size)
    if side == process_res:
        return size[0], size[1]
    scale = process_res / side
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _patch_size(size: tuple[int, int], method: str) -> tuple[int, int]:
    up = 0 if method.endswith("_crop") else PATCH // 2  # a remainder of 7 goes up
    H, W = ((side + up) // PATCH * PATCH for side in size)
    return max(PATCH, H), max(PATCH, W)


def _common_canvas(sizes: Sequence[tuple[int, int]], process_res: int) -> tuple[int, int]:
    """(H, W) with the median aspect ratio: the photo of aspect a keeps min(a / A, A / a) of its area."""
    aspect = math.exp(float(np.median([math.log(w / h) for h, w in sizes])))
    large = 1 << 20  # the shape of a huge photo, so that rounding happens once
    shape = (large, round(large * aspect)) if aspect < 1 else (round(large / aspect), large)
    return released_size(shape, process_res, "upper_bound_resize")


def _cover(image: np.ndarray, canvas: tuple[int, int]) -> tuple[np.ndarray, PixelMap]:
    """The largest centred rectangle of the canvas's shape, resized to it."""
    (h, w), (H, W) = image.shape[:2], canvas
    height, width = min(h, max(1, round(w * H / W))), min(w, max(1, round(h * W / H)))
    left, top = (w - width) // 2, (h - height) // 2
    image, pixel_map = cut(image, whole_photo((h, w)), (height, width), left=left, top=top)
    return resize(image, canvas), pixel_map.resized(canvas)

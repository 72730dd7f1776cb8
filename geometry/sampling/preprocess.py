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
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from geometry.errors import InputError
from geometry.models.da3 import IMAGE_MEAN
from geometry.scenes.scene import Frame, Scene
from geometry.views import Cameras, Views

PATCH = 14
METHODS = ("upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop")
Mixed = Literal["cover", "pad", "released_crop"]


@dataclass(frozen=True, kw_only=True)
class PixelMap:
    """Where network pixels lie in a photo: ``network = photo * scale - offset``, per axis (x, y)."""

    photo_size: tuple[int, int]  # (H, W) of what `Frame.load` returns
    network_size: tuple[int, int]  # (H, W)
    scale: tuple[float, float] = (1.0, 1.0)  # network pixels per photo pixel, x and y
    offset: tuple[float, float] = (0.0, 0.0)  # network pixels cut off left and top; negative where padded

    @property
    def valid(self) -> tuple[slice, slice]:
        """Rows and columns of the network image that show the photo; the rest is padding."""
        slices = []
        for axis, (size, photo) in enumerate(zip(self.network_size, self.photo_size)):
            start = max(0, round(-self.offset[1 - axis]))
            end = min(size, round(photo * self.scale[1 - axis] - self.offset[1 - axis]))
            slices.append(slice(start, end))
        return slices[0], slices[1]

    @property
    def kept(self) -> float:
        """Part of the photo's area that the network sees, 0..1."""
        rows, columns = self.valid
        shown = (rows.stop - rows.start) * (columns.stop - columns.start)
        H, W = self.photo_size
        return min(1.0, shown / (H * W * self.scale[0] * self.scale[1]))

    def to_photo(self, pixels: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Photo pixels (x, y) of network pixels."""
        return (np.asarray(pixels) + self.offset) / self.scale

    def network_intrinsics(self, intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """Intrinsics of the network image from those of the photo."""
        (sx, sy), (left, top) = self.scale, self.offset
        return np.array([[sx, 0, -left], [0, sy, -top], [0, 0, 1]]) @ intrinsics

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
        """This map followed by a cut to (H, W) from column ``left`` and row ``top``; negative ones pad."""
        return replace(self, network_size=size, offset=(self.offset[0] + left, self.offset[1] + top))


def released_resize(
    image: UInt8[np.ndarray, "h w 3"], process_res: int = 504, method: str = "upper_bound_resize"
) -> tuple[UInt8[np.ndarray, "H W 3"], PixelMap]:
    """Two resizes, or a resize and a crop, to sides divisible by the patch size.

    First the longest (``upper_bound``) or shortest (``lower_bound``) side becomes ``process_res``, then
    each side goes to the nearest multiple of 14 (``resize``; ties go up) or is cut to the multiple
    below (``crop``). Enlarging is cubic, shrinking averages areas; pixels are 8-bit in between.
    """
    size = image.shape[:2]
    pixel_map = PixelMap(photo_size=size, network_size=size)
    bounded = _bounded_size(size, process_res, method)
    if bounded != size:
        image, pixel_map = _resize(image, bounded), pixel_map.resized(bounded)
    final = _patch_size(bounded, method)
    if method.endswith("_crop"):
        (h, w), (H, W) = bounded, final
        top, left = (h - H) // 2, (w - W) // 2
        return image[top : top + H, left : left + W], pixel_map.cropped(final, left=left, top=top)
    if final != bounded:
        image, pixel_map = _resize(image, final), pixel_map.resized(final)
    return image, pixel_map


def released_size(image_size: tuple[int, int], process_res: int, method: str) -> tuple[int, int]:
    """(H, W) that `released_resize` gives to a photo of (H, W)."""
    return _patch_size(_bounded_size(image_size, process_res, method), method)


def prepare_views(
    scene: Scene,
    indices: Iterable[int] | None = None,
    *,
    process_res: int = 504,
    method: str = "upper_bound_resize",
    mixed: Mixed = "cover",
) -> tuple[Views, tuple[PixelMap, ...]]:
    """Network input of some of a scene's photos, and how its pixels lie in each photo.

    Photos whose released sizes agree are prepared exactly as the released code does. Otherwise the
    network, which takes one size, needs a decision:

    - ``cover`` (default): all photos share the shape of the middle one: a canvas with the median of
      their aspect ratios, in logarithm, which is the shape that loses the least in sum. Each photo is
      scaled to cover it and cut at the centre. A few portraits among landscapes lose top and bottom,
      an even mix meets near a square, and photos that differ by some pixels lose just those. Content
      cut from one photo is usually seen in another; bars, which the network never saw in training,
      would be given a depth.
    - ``pad``: nothing is cut; photos are centred on bars of the training mean colour, and `PixelMap.valid`
      says which part of each output counts.
    - ``released_crop``: the released behaviour. Every photo is prepared on its own, then all are cut to
      the smallest height and width among them, at their different scales.

    Only the chosen photos are decoded, each by one of at most eight threads that keep no more than
    the photo at hand.

    Args:
        indices: frames of the scene, in the order wanted; None takes all.
        process_res: longest (or, with ``lower_bound``, shortest) side of the network image, before
            rounding to multiples of 14.

    Returns:
        Views of batch size one, with cameras if every chosen frame has one, and one map per view.

    Raises:
        InputError: a photo is damaged or too small, or ``process_res`` is below one patch.
    """
    if method not in METHODS or mixed not in ("cover", "pad", "released_crop"):
        raise ValueError(f"no preprocessing {method!r} with {mixed!r} for mixed sizes")
    if process_res < PATCH:
        raise InputError(f"process_res: expected at least {PATCH} pixels, one patch, got {process_res}")
    frames = [scene.frames[i] for i in (range(len(scene)) if indices is None else indices)]
    if not frames:
        raise InputError(f"{scene.name}: expected at least one photo, got none")
    sizes = [released_size(frame.image_size, process_res, method) for frame in frames]
    if len(set(sizes)) == 1:
        canvas, mixed = sizes[0], "released_crop"
    elif mixed == "released_crop":
        canvas = min(h for h, _ in sizes), min(w for _, w in sizes)
    elif mixed == "pad":
        canvas = max(h for h, _ in sizes), max(w for _, w in sizes)
    else:
        canvas = _common_canvas([frame.image_size for frame in frames], process_res, method)

    images = torch.empty(1, len(frames), 3, *canvas)

    def prepare(view: int) -> PixelMap:
        pixels = frames[view].load()
        if mixed == "cover":
            pixels, pixel_map = _cover(pixels, canvas)
        else:
            pixels, pixel_map = released_resize(pixels, process_res, method)
            pixels, pixel_map = _centre(pixels, pixel_map, canvas)
        images[0, view] = _unit_range(pixels)
        return pixel_map

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1, len(frames))) as threads:
        maps = tuple(threads.map(prepare, range(len(frames))))
    return Views(images=images, cameras=network_cameras(frames, maps)), maps


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


def _bounded_size(size: tuple[int, int], process_res: int, method: str) -> tuple[int, int]:
    side = max(size) if method.startswith("upper_bound") else min(size)
    if side == process_res:
        return tuple(size)  # type: ignore[return-value]
    scale = process_res / side
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _patch_size(size: tuple[int, int], method: str) -> tuple[int, int]:
    if method.endswith("_crop"):
        rounded = [side // PATCH * PATCH for side in size]
    else:
        rounded = [(side + PATCH // 2) // PATCH * PATCH for side in size]  # a remainder of 7 goes up
    return max(PATCH, rounded[0]), max(PATCH, rounded[1])


def _common_canvas(sizes: Sequence[tuple[int, int]], process_res: int, method: str) -> tuple[int, int]:
    """(H, W) with the median aspect ratio: the photo of aspect a keeps min(a / A, A / a) of its area."""
    aspect = math.exp(float(np.median([math.log(w / h) for h, w in sizes])))
    large = 1 << 20  # the shape of a huge photo, so that rounding happens once
    shape = (large, round(large * aspect)) if aspect < 1 else (round(large / aspect), large)
    return released_size(shape, process_res, method)


def _cover(image: np.ndarray, canvas: tuple[int, int]) -> tuple[np.ndarray, PixelMap]:
    """The largest centred rectangle of the canvas's shape, resized to it."""
    (h, w), (H, W) = image.shape[:2], canvas
    height, width = min(h, max(1, round(w * H / W))), min(w, max(1, round(h * W / H)))
    top, left = (h - height) // 2, (w - width) // 2
    pixel_map = PixelMap(photo_size=(h, w), network_size=(h, w))
    pixel_map = pixel_map.cropped((height, width), left=left, top=top).resized(canvas)
    return _resize(image[top : top + height, left : left + width], canvas), pixel_map


def _centre(image: np.ndarray, pixel_map: PixelMap, canvas: tuple[int, int]) -> tuple[np.ndarray, PixelMap]:
    """Cut (rounding as the released code) or pad with the mean colour to the canvas, centred."""
    if image.shape[:2] == canvas:
        return image, pixel_map
    top, left = (round((image.shape[axis] - canvas[axis]) / 2) for axis in (0, 1))
    pixel_map = pixel_map.cropped(canvas, left=left, top=top)
    out = np.empty((*canvas, 3), np.uint8)
    out[:] = np.round(np.array(IMAGE_MEAN) * 255)
    rows, columns = pixel_map.valid
    out[rows, columns] = image[max(top, 0) : max(top, 0) + canvas[0], max(left, 0) : max(left, 0) + canvas[1]]
    return out, pixel_map


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cubic if any side grows, area averaging otherwise."""
    (h, w), (H, W) = image.shape[:2], size
    return cv2.resize(image, (W, H), interpolation=cv2.INTER_CUBIC if h < H or w < W else cv2.INTER_AREA)


def _unit_range(pixels: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(np.require(pixels, requirements="CW")).permute(2, 0, 1).float() / 255.0  # type: ignore[arg-type]

"""From a photo to the image that is scored, and to the network's input, with intrinsics that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.formats.images import read_image
from geometry.options import require_one_of
from geometry.sampling.framing import frame_window, show_frames
from geometry.sampling.preprocess import PATCH, PixelMap, released_size
from geometry.scenes.scene import Frame, turn_intrinsics
from geometry.views import Cameras, Views
from nvs.cameras.fit import scaled_size

FITS = ("crop", "stretch")


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How photos become images of one size.

    Args:
        size: (H, W) of the images that are scored; None keeps the photos' shape, see `image_size`.
        long_side: of the images where ``size`` is None.
        fit: ``crop`` scales to cover and cuts at the centre, ``stretch`` squeezes the whole photo.
        undistort: undo lens distortion; without, distortion is ignored as if the camera were a pinhole.
    """

    size: tuple[int, int] | None = None
    long_side: int = 480
    fit: str = "crop"
    undistort: bool = True

    def __post_init__(self) -> None:
        require_one_of("benchmark.fit", self.fit, FITS)
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 16):
            raise InputError(f"benchmark.size: expected [H, W] of at least 16 pixels, got {list(self.size)}")
        if self.long_side < 16:
            raise InputError(f"benchmark.long_side: expected at least 16 pixels, got {self.long_side}")

    def image_size(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """(H, W) of a scene's images: as stated, else the shape of its median photo, sides even."""
        if self.size is not None:
            H, W = self.size
            return H, W
        shapes = sorted((frame.image_size for frame in frames), key=lambda s: (s[1] / s[0], s))
        H, W = scaled_size(shapes[len(shapes) // 2], self.long_side)
        return max(16, H), max(16, W)

    def straightened(self, frame: Frame) -> Frame:
        """The frame, with its distortion ignored where that is wanted."""
        if self.undistort or frame.lens is None:
            return frame
        K = turn_intrinsics(frame.lens.intrinsics, frame.lens.image_size, frame.quarter_turns)
        return replace(frame, lens=None, intrinsics=K)

    def window(self, frame: Frame, size: tuple[int, int]) -> PixelMap:
        """Which part of the photo the image of (H, W) shows."""
        if self.fit == "crop":
            return frame_window(frame.image_size, size)
        return PixelMap(photo_size=frame.image_size, network_size=frame.image_size).resized(size)


def network_size(size: tuple[int, int], process_res: int | None = None) -> tuple[int, int]:
    """(H, W) of the network's input for images of (H, W): each side the nearest multiple of the patch.

    Args:
        process_res: the long side, as `nvs render` takes it; None: that of ``size``.
    """
    if process_res is not None:
        return released_size(size, process_res, "upper_bound_resize")
    H, W = (max(PATCH, int(side / PATCH + 0.5) * PATCH) for side in size)
    return H, W


def framed_views(
    frames: Sequence[Frame], framing: Framing, size: tuple[int, int], *sizes: tuple[int, int]
) -> list[Views]:
    """Photos as views of batch size one, cameras included: at ``size`` and at each of ``sizes``.

    All sizes show the same window of each photo, that of ``size``. Every photo is decoded once and not kept.
    """
    straight = [framing.straightened(frame) for frame in frames]
    windows = [framing.window(frame, size) for frame in straight]
    return show_frames(straight, [(w, *(w.resized(s) for s in sizes)) for w in windows])


def framed_cameras(frames: Sequence[Frame], framing: Framing, size: tuple[int, int]) -> Cameras:
    """Cameras of `framed_views` without decoding a photo."""
    straight = [framing.straightened(frame) for frame in frames]
    K = np.stack([framing.window(f, size).network_intrinsics(f.intrinsics) for f in straight])
    extrinsics = np.stack([frame.extrinsics for frame in frames])
    return Cameras(
        extrinsics=torch.from_numpy(extrinsics)[None].float(), intrinsics=torch.from_numpy(K)[None].float()
    )


def stored_image(path: Path, size: tuple[int, int]) -> Float[Tensor, "3 H W"]:
    """A rendering as it is scored, from its file.

    Raises:
        InputError: no such image, or not of (H, W).
    """
    pixels = torch.tensor(read_image(path, exif=False))
    if tuple(pixels.shape[:2]) != tuple(size):
        raise InputError(f"{path}: expected size (H, W) {tuple(size)}, got {tuple(pixels.shape[:2])}")
    return pixels.permute(2, 0, 1).float() / 255


def framed_image(frame: Frame, framing: Framing, size: tuple[int, int]) -> Float[Tensor, "1 3 H W"]:
    """One photo as it is scored."""
    return framed_views([frame], framing, size)[0].images[0]

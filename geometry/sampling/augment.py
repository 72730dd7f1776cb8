"""Augmentation: what may vary between samples, and by how much. Every draw comes from a generator.

Geometric changes (zoom, shift, stretch, flip, quarter turns) are applied with the cameras following
(`geometry.sampling.assemble`); photometric ones change colours only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import kornia
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.formats.images import turned_size
from geometry.scenes.scene import Frame, turn_extrinsics, turn_intrinsics

_GREY = torch.tensor([[0.299, 0.587, 0.114]])  # of red, green and blue
_HUE = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5  # generates turns about the grey axis


@dataclass(frozen=True, kw_only=True)
class GeometricAugmentation:
    """Ranges of the geometric changes; the defaults change nothing.

    Source: DA3 says only that resolutions and aspect ratios vary, and turns 5% of images by 90 or 270
    degrees for its metric model; the other ranges are ours to choose in the config.
    """

    zoom: Sequence[float] = (1.0, 1.0)  # magnification, drawn once per sample and log-uniform
    stretch: float = 1.0  # aspect ratio changes by up to this factor either way, once per sample
    shift: float = 0.0  # windows move by up to this part of the free room, drawn for each view
    flip: float = 0.0  # probability that all views of a sample are mirrored, world and cameras with them
    quarter_turn: float = 0.0  # probability that all views are turned, 90 or 270 degrees alike


@dataclass(frozen=True, kw_only=True)
class GeometricDraw:
    """One draw of `GeometricAugmentation`."""

    zoom: float
    stretch: float
    shifts: tuple[tuple[float, float], ...]  # per view
    flip: bool
    quarter_turns: int


def draw_geometric(ranges: GeometricAugmentation, views: int, rng: np.random.Generator) -> GeometricDraw:
    """Draw one sample's geometric changes; the same numbers are used up whatever the ranges are."""
    u = rng.random(5)
    shifts = rng.uniform(-1, 1, (views, 2)) * ranges.shift
    low, high = np.log(ranges.zoom)
    return GeometricDraw(
        zoom=float(np.exp(low + u[0] * (high - low))),
        stretch=float(ranges.stretch ** (2 * u[1] - 1)),
        shifts=tuple((float(x), float(y)) for x, y in shifts),
        flip=bool(u[2] < ranges.flip),
        quarter_turns=(1 if u[4] < 0.5 else 3) if u[3] < ranges.quarter_turn else 0,
    )


def turned(frame: Frame, quarter_turns: int) -> Frame:
    """The frame turned clockwise, camera included."""
    if quarter_turns % 4 == 0:
        return frame
    return replace(
        frame,
        image_size=turned_size(frame.image_size, quarter_turns),
        extrinsics=turn_extrinsics(frame.extrinsics, quarter_turns),
        intrinsics=turn_intrinsics(frame.intrinsics, frame.image_size, quarter_turns),
        quarter_turns=(frame.quarter_turns + quarter_turns) % 4,
    )


@dataclass(frozen=True, kw_only=True)
class PhotometricAugmentation:
    """Colour changes as is usual in training: jitter, grey, blur.

    Source: ranges like those of DUSt3R and VGGT (jitter, grey, blur per view); the papers of DA3 give none.
    """

    brightness: float = 0.3  # factor in 1 - b .. 1 + b
    contrast: float = 0.3  # likewise, about the photo's mean grey
    saturation: float = 0.3  # likewise, about each pixel's grey
    hue: float = 0.05  # turns about the axis of greys, -h .. h
    jitter: float = 0.8  # probability of the four above
    grey: float = 0.05  # probability
    blur: float = 0.05  # probability
    blur_sigma_px: Sequence[float] = (0.3, 1.5)  # least and greatest
    per_view: bool = True  # draw for each view; False: once per sample, as targets of rendering need

    def __call__(
        self, images: Float[Tensor, "V 3 H W"], generator: torch.Generator
    ) -> Float[Tensor, "V 3 H W"]:
        """Changed images, still in 0..1."""
        V, _, H, W = images.shape
        n = V if self.per_view else 1
        u = torch.rand(n, 8, generator=generator).expand(V, 8)
        amounts = torch.tensor([self.brightness, self.contrast, self.saturation, 2 * torch.pi * self.hue])
        change = amounts * (2 * u[:, :4] - 1) * (u[:, 4:5] < self.jitter)
        brightness, contrast, saturation = (1 + change[:, :3, None, None]).unbind(1)
        # All of it is one matrix of a photo's colours, and contrast a share of its mean grey besides.
        to_grey = _GREY.expand(3, 3)
        colours = torch.lerp(to_grey, torch.linalg.matrix_exp(change[:, 3, None, None] * _HUE), saturation)
        colours = torch.where(u[:, 5, None, None] < self.grey, to_grey @ colours, colours)
        flat = images.flatten(2)
        mean = (_GREY @ flat.mean(dim=2, keepdim=True)).expand(V, 3, 1)
        images = torch.baddbmm((1 - contrast) * brightness * mean, contrast * brightness * colours, flat)
        images = images.clamp_(0, 1).view(V, 3, H, W)
        blurred = (u[:, 6] < self.blur)[:, None, None, None]
        if blurred.any():
            low, high = self.blur_sigma_px
            sigma = (low + u[:, 7:] * (high - low)).expand(V, 2)
            size = 2 * int(np.ceil(2 * high)) + 1
            soft = kornia.filters.gaussian_blur2d(images, (size, size), sigma, border_type="replicate")
            images = torch.where(blurred, soft, images)
        return images

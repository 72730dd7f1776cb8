"""Records that flow through everything, and the conventions they carry.

Conventions, stated here once and converted in dataset readers and `geometry.formats`, nowhere else:

- Axes are OpenCV's: x right, y down, z forward.
- ``extrinsics`` is always world-to-camera; its inverse is always named ``cam_to_world``.
- Intrinsics are in pixels and the first pixel's centre is at (0.5, 0.5): resizing multiplies,
  cropping subtracts.
- ``depth`` is z along the camera axis, in scene units unless a name ends ``_m``.
- Sizes are H x W. Images are channel-first, fields of vectors channel-last.
- Letters in shapes: B batch, V views, H W image, h w grid, T tokens, D features, N Gaussians, K
  spherical-harmonics terms.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.tensors import TensorRecord


@dataclass(frozen=True, kw_only=True)
class Cameras(TensorRecord):
    """Pinhole cameras, OpenCV axes (x right, y down, z forward)."""

    extrinsics: Float[Tensor, "B V 4 4"]  # world-to-camera
    intrinsics: Float[Tensor, "B V 3 3"]  # pixels; first pixel centre at (0.5, 0.5)

    def arrays(self) -> tuple[Float[np.ndarray, "V 4 4"], Float[np.ndarray, "V 3 3"]]:
        """Extrinsics and intrinsics of the first scene in float64, as files take them."""
        E, K = (t[0].detach().double().cpu().numpy() for t in (self.extrinsics, self.intrinsics))
        return E, K


@dataclass(frozen=True, kw_only=True)
class Views(TensorRecord):
    """What a model may see: images, and cameras where they are given."""

    images: Float[Tensor, "B V 3 H W"]  # sRGB in 0..1
    cameras: Cameras | None = None
    known: Bool[Tensor, "B V"] | None = None  # whose camera is given; None: everybody's, if there are any
    mask: Bool[Tensor, "B V H W"] | None = None  # False where a photo is not to be used: people, sky

    def mean_colour(self) -> Float[Tensor, "B 3"]:
        """Of the pixels that may be used."""
        if self.mask is None:
            return self.images.mean(dim=(1, 3, 4))
        kept = self.mask[:, :, None]
        return (self.images * kept).sum(dim=(1, 3, 4)) / kept.sum(dim=(1, 3, 4)).clamp(min=1)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[-2], self.images.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Truth(TensorRecord):
    """What a model is scored against; kept apart from `Views` so that hiding cameras cannot touch labels."""

    cameras: Cameras
    depth: Float[Tensor, "B V H W"]  # z-depth, 0 where not valid
    valid: Bool[Tensor, "B V H W"]
    metric: Bool[Tensor, " B"]  # depth and poses are in metres
    sky: Bool[Tensor, "B V H W"] | None = None
    objects: Bool[Tensor, "B V H W"] | None = None  # foreground object mask


@dataclass(frozen=True, kw_only=True)
class Example(TensorRecord):
    """One training sample or batch of them."""

    views: Views
    truth: Truth

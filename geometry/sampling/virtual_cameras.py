"""What cameras at the same places, turned and with other lenses, would have seen: endless new samples.

A camera that only turns sees the same light, so its photo follows from the old one by a homography, exactly
up to resampling. Nothing has to be rendered, and cameras and depth follow.

Source: Hartley and Zisserman 2004, section 8.4 (the homography of a camera that rotates about its centre).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import pixel_rays
from geometry.views import Cameras, Example, Views


@dataclass(frozen=True, kw_only=True)
class VirtualCameras:
    """How much cameras turn. Standard deviations, cut at twice their size, each view on its own."""

    tilt_deg: float = 0.0  # of yaw and of pitch
    roll_deg: float = 0.0  # about the optical axis
    zoom: Sequence[float] = (1.0, 1.0)  # range, drawn once per sample: above 1 there is a margin to turn in
    flip: float = 0.0  # probability that a sample is mirrored, world and cameras with it

    def __post_init__(self) -> None:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise InputError(f"virtual cameras: expected zoom as [low, high] above 0, got {list(self.zoom)}")

    def draw(self, example: Example, image_size: tuple[int, int], rng: np.random.Generator) -> Example:
        """A new sample of one scene (batch size 1) with images of (H, W)."""
        views = example.views.images.shape[1]
        noise = torch.from_numpy(rng.standard_normal((views, 3)).clip(-2, 2)).float()
        spread = torch.tensor([self.tilt_deg, self.tilt_deg, self.roll_deg])
        turn = _rotations(noise * spread * (math.pi / 180))
        zoom = float(rng.uniform(*self.zoom))  # type: ignore[call-overload]
        turned = turn_cameras(example, turn[None], image_size, zoom)
        return mirrored(turned) if rng.random() < self.flip else turned


def turn_cameras(
    example: Example, turn: Float[Tensor, "B V 3 3"], image_size: tuple[int, int], zoom: float = 1.0
) -> Example:
    """The views of cameras that are turned about their centres.

    The new lens has a central principal point and shows the old image at the scale that fills (H, W), what
    sticks out cut off, and ``zoom`` times larger than that. What the old photo does not show has its border's
    colour and no valid depth. Colours are sampled bilinearly, depth and masks by nearest pixel.

    Args:
        turn: from the old camera's axes to the new one's; new extrinsics are turn @ old.
    """
    old, truth = example.truth.cameras, example.truth
    (H, W), (h, w) = image_size, example.views.image_size
    scale = zoom * max(W / w, H / h)
    K = old.intrinsics * old.intrinsics.new_tensor([scale, scale, 1.0])[:, None]
    K[..., :2, 2] = K.new_tensor([W / 2, H / 2])
    rays = pixel_rays(turn.mT @ K.inverse(), (H, W))  # old camera's axes
    place = torch.einsum("bvij,bvhwj->bvhwi", old.intrinsics, rays)
    ahead = place[..., 2] > 1e-3
    place = place[..., :2] / place[..., 2:].clamp(min=1e-3)
    place = place / place.new_tensor([w, h]) * 2 - 1
    inside = ahead & (place.abs() <= 1).all(-1)

    def show(values: Tensor, mode: str) -> Tensor:
        """Channels of all views, sampled."""
        grid = place.flatten(0, 1).clamp(-2, 2)
        values = values.float().flatten(0, 1)
        shown = F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)
        return shown.unflatten(0, place.shape[:2])

    def show_mask(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else (show(mask[:, :, None], "nearest")[:, :, 0] > 0.5) & inside

    extrinsics = se3.from_rotation_translation(turn, torch.zeros_like(turn[..., 0])) @ old.extrinsics
    cameras = Cameras(extrinsics=extrinsics, intrinsics=K)
    valid = show_mask(truth.valid)
    # A ray that had z = 1 in the old camera has z = 1 / rays_z of it in the new one.
    depth = show(truth.depth[:, :, None], "nearest")[:, :, 0] / rays[..., 2].clamp(min=1e-3)
    return Example(
        views=replace(
            example.views,
            images=show(example.views.images, "bilinear"),
            cameras=None if example.views.cameras is None else cameras,
        ),
        truth=replace(
            truth,
            cameras=cameras,
            depth=torch.where(valid, depth, 0.0),
            valid=valid,
            sky=show_mask(truth.sky),
            objects=show_mask(truth.objects),
        ),
    )


def mirrored(example: Example) -> Example:
    """The sample in a mirror: images, depth and masks from right to left, cameras and world with them.

    A flipped image is no view of the same world, but flipped images are views of one mirrored world:
    F E F with F = diag(-1, 1, 1, 1) is a rotation again. All views of a scene must be flipped together.
    """
    W = example.views.image_size[1]
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])).to(example.truth.cameras.extrinsics)

    def cameras(given: Cameras | None) -> Cameras | None:
        if given is None:
            return None
        K = given.intrinsics.clone()
        K[..., 0, 1], K[..., 0, 2] = -K[..., 0, 1], W - K[..., 0, 2]
        return Cameras(extrinsics=flip @ given.extrinsics @ flip, intrinsics=K)

    views, truth = example.views, example.truth
    maps = {name: getattr(truth, name) for name in ("depth", "valid", "sky", "objects")}
    flipped = {name: values.flip(-1) for name, values in maps.items() if values is not None}
    return Example(
        views=Views(images=views.images.flip(-1), cameras=cameras(views.cameras)),
        truth=replace(truth, cameras=cameras(truth.cameras), **flipped),
    )


def _rotations(angles: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3 3"]:
    """Roll after pitch after yaw, from (pitch, yaw, roll) in radians about x, y and z."""
    cos, sin = angles.cos(), angles.sin()
    total = torch.eye(3).expand(len(angles), 3, 3)
    for axis in (1, 0, 2):  # yaw acts first
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = torch.eye(3).repeat(len(angles), 1, 1)
        step[:, i, i] = step[:, j, j] = cos[:, axis]
        step[:, i, j], step[:, j, i] = -sin[:, axis], sin[:, axis]
        total = step @ total
    return total

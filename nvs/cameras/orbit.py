"""A loop around the point that the cameras look at."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.views import Cameras
from nvs.cameras.up_axis import focus_point, up_axis

_FULL_CIRCLE_FROM = math.radians(270)  # inputs that cover this much are taken to go all the way round
_LEAST_SWEEP = math.radians(16)
_STEEPEST = math.radians(80)  # nearer the pole the heading is unstable


def orbit(cameras: Cameras, *, depth: Float[Tensor, "B V H W"] | None = None, frames: int = 120) -> Cameras:
    """A closed loop around what the cameras look at, as far as they have seen it.

    Inputs that surround the scene give a full circle at their median distance and height. Otherwise the
    loop swings over the inputs' own range of azimuth (16 degrees for one view) with a slight rise and
    fall, since behind it there is nothing to show. Each frame looks at `focus_point`, level by `up_axis`;
    intrinsics are the median of the inputs'.

    Args:
        depth: z-depth of the inputs; needed where their optical axes do not meet, as for one view.

    Raises:
        ValueError: see `focus_point`.
    """
    focus, up = focus_point(cameras, depth).double(), up_axis(cameras).double()
    scenes = [_orbit(E, f, u, frames) for E, f, u in zip(cameras.extrinsics.double(), focus, up)]
    # Contiguous: torch's median of an expanded tensor returns uninitialised memory (2.12, CPU).
    intrinsics = cameras.intrinsics.contiguous().median(dim=1, keepdim=True).values
    return Cameras(
        extrinsics=se3.invert(torch.stack(scenes)).to(cameras.extrinsics),
        intrinsics=intrinsics.expand(-1, frames, -1, -1).clone(),
    )


def _orbit(
    extrinsics: Float[Tensor, "V 4 4"], focus: Tensor, up: Tensor, frames: int
) -> Float[Tensor, "F 4 4"]:
    # Azimuth is measured from the first camera's side of the focus.
    offset = se3.centres(extrinsics) - focus
    side = offset[0] - (offset[0] @ up) * up
    if side.norm() < 1e-3 * offset[0].norm():  # straight above: its image's lower edge points sideways
        side = extrinsics[0, 1, :3] - (extrinsics[0, 1, :3] @ up) * up
    side = torch.nn.functional.normalize(side, dim=0)
    across = torch.linalg.cross(up, side)
    distance = offset.norm(dim=-1)
    azimuth = torch.atan2(offset @ across, offset @ side)
    elevation = torch.asin((offset @ up / distance).clamp(-1, 1)).median().clamp(-_STEEPEST, _STEEPEST)

    middle, sweep = _covered(azimuth)
    if sweep > _FULL_CIRCLE_FROM:
        sweep = 2 * math.pi
    sweep = max(sweep, _LEAST_SWEEP)
    phase = torch.arange(frames, dtype=offset.dtype) * (2 * math.pi / frames)
    if sweep >= 2 * math.pi - 1e-6:
        azimuth, rise = phase, torch.zeros_like(phase)
    else:
        azimuth = middle + sweep / 2 * phase.sin()
        rise = min(max(0.15 * sweep, math.radians(3)), math.radians(8)) * phase.cos()
    height = (elevation + rise).clamp(-_STEEPEST, _STEEPEST)
    direction = (
        height.cos()[:, None] * (azimuth.cos()[:, None] * side + azimuth.sin()[:, None] * across)
        + height.sin()[:, None] * up
    )
    return look_at(focus + distance.median() * direction, focus, up)


def _covered(azimuth: Float[Tensor, " V"]) -> tuple[float, float]:
    """Middle and width of the smallest arc that holds all angles."""
    ordered = torch.sort(azimuth).values
    gaps = torch.cat((ordered[1:], ordered[:1] + 2 * math.pi)) - ordered
    widest = int(gaps.argmax())
    width = 2 * math.pi - float(gaps[widest])
    first = float(ordered[(widest + 1) % len(ordered)])
    return first + width / 2, width


def look_at(
    centres: Float[Tensor, "F 3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]
) -> Float[Tensor, "F 4 4"]:
    """cam_to_world of cameras at ``centres`` that look at ``target`` with a level horizon."""
    forward = torch.nn.functional.normalize(target - centres, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    rotation = torch.stack((right, torch.linalg.cross(forward, right), forward), dim=-1)
    return se3.from_rotation_translation(rotation, centres)

"""The eight camera paths of the released viewer, number for number.

Their quirks are kept, since people compare videos: smoothed rotations are not orthonormal, and the dolly
zoom shortens the focal length as it backs away. Paths of our own are in `orbit` and `spline`.

Source: the released DA3 exporter; the interpolation about a pivot is pixelSplat's (Charatan et al. 2024).
"""

import math
from collections.abc import Callable

import cv2
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras

Poses = Float[Tensor, "_ 4 4"]  # cam_to_world, one per frame
Matrices = Float[Tensor, "_ 3 3"]  # intrinsics of those frames, relative to the image's width and height
Path = tuple[Poses, Matrices]


def released(mode: str, cameras: Cameras, image_size: tuple[int, int]) -> Cameras:
    """One of `RELEASED_MODES` through or around the given cameras, in their world.

    The result has F frames, of every scene alike.

    Args:
        image_size: (H, W) to which the intrinsics refer; the radius of ``wander`` depends on it.

    Raises:
        InputError: an unknown mode, or fewer views than the mode needs.
    """
    if mode not in RELEASED_MODES:
        raise InputError(f"camera path {mode!r}: expected one of {', '.join(RELEASED_MODES)}")
    path, needed = RELEASED_MODES[mode]
    count = cameras.extrinsics.shape[1]
    if count < needed:
        raise InputError(f"camera path {mode}: expected {needed} or more views, got {count}")
    cam_to_world = se3.invert(cameras.extrinsics.double())
    normed = resize_intrinsics(cameras.intrinsics.double(), image_size, (1, 1))
    scenes = [path(c, k, image_size[1]) for c, k in zip(cam_to_world, normed)]
    poses, matrices = (torch.stack(field) for field in zip(*scenes))
    return Cameras(
        # Smoothed rotations are not orthonormal; the released path inverts them by transposing all the same.
        extrinsics=se3.invert(poses).to(cameras.extrinsics),
        intrinsics=resize_intrinsics(matrices, (1, 1), image_size).to(cameras.intrinsics),
    )


def _original(poses: Poses, normed: Matrices, width: int) -> Path:
    return poses, normed


def _smooth(poses: Poses, normed: Matrices, width: int) -> Path:
    """Centres and two rotation columns through a Gaussian along the path; the third is their product."""
    count = len(poses)
    size = max(3, min(51, count - 1 + count % 2))  # the largest odd number of frames, at most 51
    if count <= size // 2:
        return poses, normed  # too short to reflect at its ends
    kernel = torch.from_numpy(cv2.getGaussianKernel(size, 0)).flatten()  # sigma 0: from the size
    columns = poses[:, :3, [0, 1, 3]].flatten(1).T  # [9, V]
    padded = torch.nn.functional.pad(columns, (size // 2, size // 2), mode="reflect")
    columns = padded.unfold(1, size, 1) @ kernel
    r1, r2, centre = columns.T.unflatten(1, (3, 3)).unbind(-1)
    r1, r2 = (torch.nn.functional.normalize(r, dim=-1) for r in (r1, r2))
    rotation = torch.stack((r1, r2, torch.linalg.cross(r1, r2)), dim=-1)
    return se3.from_rotation_translation(rotation, centre), normed


def _interpolate(poses: Poses, normed: Matrices, width: int) -> Path:
    """Eased steps between consecutive views, about 48 to 432 frames in all."""
    pairs = len(poses) - 1
    steps = 8
    if pairs * steps > 432:
        steps = max(1, 240 // pairs)
    if pairs * steps < 48:
        steps = max(1, 48 // pairs)
    if steps <= 2:
        return poses, normed
    t = torch.linspace(0, 1, steps, dtype=poses.dtype)
    t = ((math.pi * (t + 1)).cos() + 1) / 2
    clips = [
        (_between(poses[i], poses[i + 1], ease), _lerp(normed[i], normed[i + 1], ease[:, None, None]))
        for i in range(pairs)
        for ease in [t if i == 0 else t[1:]]  # a clip begins where the last one ended
    ]
    return _join(*clips)


def _interpolate_smooth(poses: Poses, normed: Matrices, width: int) -> Path:
    return _smooth(*_interpolate(poses, normed, width), width)


def _extend(poses: Poses, normed: Matrices, width: int) -> Path:
    """The video's default: `interpolate_smooth`, stopping half-way for a `wander` and a `dolly_zoom`."""
    poses, normed = _interpolate_smooth(poses, normed, width)
    middle = len(poses) // 2
    frames = max(36, min(60, middle // 2))
    here = poses[middle:], normed[middle:]
    return _join(
        (poses[:middle], normed[:middle]),
        _wander(*here, width, frames=frames),
        _dolly_zoom(*here, width, frames=frames, focus=10.0, max_shift=0.1),
        here,
    )


def _wander(poses: Poses, normed: Matrices, width: int, *, frames: int = 120) -> Path:
    """A tilted loop in front of the first view, 24 pixels wide at unit depth."""
    radius = 24.0 / (normed[0, 0, 0] * width)
    angle = torch.linspace(0, 2 * math.pi, frames, dtype=poses.dtype)
    offset = -radius * torch.stack((angle.sin(), angle.cos() / 3, angle.cos() / 3), dim=-1)
    loop = _shifted(poses[0].expand(frames, 4, 4), offset)
    first = poses[:1]
    return torch.cat((first, loop, first)), normed[:1].expand(frames + 2, 3, 3)


def _dolly_zoom(
    poses: Poses,
    normed: Matrices,
    width: int,
    *,
    frames: int = 120,
    focus: float = 30.0,
    max_shift: float = 2.0,
) -> Path:
    """Back from the first view and forth, the focal length following as focus / (focus + distance)."""
    t = torch.linspace(0, 2, frames, dtype=poses.dtype)
    back = 0.5 * (1 - (math.pi * t).cos()) * max_shift
    zero = torch.zeros_like(back)
    path = _shifted(poses[0].expand(frames, 4, 4), torch.stack((zero, zero, -back), dim=-1))
    zoomed = normed[:1].repeat(frames, 1, 1)
    zoomed[:, 0, 0] *= focus / (focus + back)
    zoomed[:, 1, 1] *= focus / (focus + back)
    return path, zoomed


def _wobble_inter(poses: Poses, normed: Matrices, width: int) -> Path:
    """From every third view to the next, circling in the image plane half as wide as they are apart."""
    frames, skip = 30, 3
    t = torch.linspace(0, 1, frames, dtype=poses.dtype)
    angle = 2 * math.pi * t
    circle = torch.stack((angle.sin(), -angle.cos(), torch.zeros_like(t)), dim=-1)
    clips, distance = [], None
    for i in range(0, len(poses) - skip, skip):
        a, b = poses[i], poses[i + skip]
        apart = (a[:3, 3] - b[:3, 3]).norm()
        distance = apart if distance is None else (distance + apart) / 2
        clips.append(
            (
                _shifted(_between(a, b, t), 0.5 * distance * circle),
                _lerp(normed[i], normed[i + skip], t[:, None, None]),
            )
        )
    return _join(*clips)


# Each mode with the number of views it needs.
RELEASED_MODES: dict[str, tuple[Callable[..., Path], int]] = {
    "original": (_original, 1),
    "smooth": (_smooth, 1),
    "interpolate": (_interpolate, 2),
    "interpolate_smooth": (_interpolate_smooth, 2),
    "extend": (_extend, 2),
    "wander": (_wander, 1),
    "dolly_zoom": (_dolly_zoom, 1),
    "wobble_inter": (_wobble_inter, 4),
}


def _between(a: Float[Tensor, "4 4"], b: Float[Tensor, "4 4"], t: Float[Tensor, " F"]) -> Poses:
    """Poses from a (t = 0) to b (t = 1), turning about the point where their optical axes nearly meet.

    Each pose is written as its displacement from the pivot, in a frame that looks with it, and two angles
    relative to a frame spanned by both viewing directions; these are interpolated.
    """
    look_a, look_b = a[:3, 2], b[:3, 2]
    up, pivot_frame = _pivot_frame(look_a, look_b)
    pivot = _pivot(a, b)

    def parameters(pose: Tensor) -> tuple[Tensor, Tensor]:
        displacement = _frame(up, pose[:3, 2]).mT @ (pivot - pose[:3, 3])
        local = pivot_frame.mT @ pose[:3, :3]
        # First and third of the intrinsic y-x-z Euler angles; the second is 0 where up is common.
        yaw = torch.atan2(local[0, 2], local[2, 2])
        roll = torch.atan2(local[1, 0], local[1, 1])
        return displacement, torch.stack((yaw, roll))

    (shift_a, angles_a), (shift_b, angles_b) = parameters(a), parameters(b)
    shift = _lerp(shift_a, shift_b, t[:, None])
    turn = torch.remainder(angles_b - angles_a + math.pi, 2 * math.pi) - math.pi  # the shorter way round
    yaw, roll = (angles_a + t[:, None] * turn).unbind(-1)
    rotation = pivot_frame @ _turn_y(yaw) @ _turn_z(roll)
    centre = pivot - (_frame(up, rotation[:, :, 2]) @ shift[..., None])[..., 0]
    return se3.from_rotation_translation(rotation, centre)


def _pivot(a: Float[Tensor, "4 4"], b: Float[Tensor, "4 4"]) -> Float[Tensor, "3"]:
    """Point nearest both optical axes; the midpoint of the centres where the axes are parallel."""
    axes, origins = torch.stack((a[:3, 2], b[:3, 2])), torch.stack((a[:3, 3], b[:3, 3]))
    if _parallel(axes[0], axes[1]):
        return origins.mean(dim=0)
    axes = torch.nn.functional.normalize(axes, dim=-1)
    across = torch.eye(3, dtype=a.dtype) - axes[:, :, None] * axes[:, None, :]
    return torch.linalg.solve(across.sum(0), (across @ origins[..., None]).sum(0))[:, 0]


def _pivot_frame(look_a: Tensor, look_b: Tensor) -> tuple[Float[Tensor, "3"], Float[Tensor, "3 3"]]:
    """Normal of the plane of two viewing directions, and the frame of that normal and the first."""
    for other in (look_b, look_b.new_tensor([0.0, 0.0, 1.0]), look_b.new_tensor([0.0, 1.0, 0.0])):
        if not _parallel(look_a, other):
            break
    up = torch.nn.functional.normalize(torch.linalg.cross(look_a, other), dim=-1)
    return up, _frame(up, look_a)


def _frame(up: Float[Tensor, "3"], look: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Columns (up x look, up, look)."""
    look = torch.nn.functional.normalize(look, dim=-1)
    up = up.expand_as(look)
    return torch.stack((torch.linalg.cross(up, look), up, look), dim=-1)


def _parallel(a: Tensor, b: Tensor) -> bool:
    return bool(1 - torch.cosine_similarity(a, b, dim=-1).abs() < 1e-4)


def _turn_y(angle: Float[Tensor, " F"]) -> Matrices:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack((c, zero, s, zero, one, zero, -s, zero, c), dim=-1).unflatten(-1, (3, 3))


def _turn_z(angle: Float[Tensor, " F"]) -> Matrices:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack((c, -s, zero, s, c, zero, zero, zero, one), dim=-1).unflatten(-1, (3, 3))


def _shifted(poses: Poses, offset: Float[Tensor, "F 3"]) -> Poses:
    """Poses moved by offsets in their own camera frames."""
    moved = poses.clone()
    moved[:, :3, 3] += (poses[:, :3, :3] @ offset[..., None])[..., 0]
    return moved


def _lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + t * (b - a)


def _join(*clips: Path) -> Path:
    poses, normed = zip(*clips)
    return torch.cat(poses), torch.cat(normed)

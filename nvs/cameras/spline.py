"""A smooth path through the input cameras."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix
from geometry.ops.rotations import matrix_from_quat_xyzw, quat_xyzw_from_matrix
from geometry.scenes.view_selection import pose_distances
from geometry.views import Cameras


def spline(cameras: Cameras, *, frames: int = 120, in_order: bool = False) -> Cameras:
    """A Catmull-Rom path that meets every input camera and has no kinks, at nearly constant speed.

    Centres, rotations and intrinsics change together, with continuous first derivatives. Views are visited
    in `visiting_order`, or ``in_order``: as given.

    Raises:
        InputError: fewer than two views.
    """
    count = cameras.extrinsics.shape[1]
    if count < 2:
        raise InputError(f"camera path spline: expected two or more views, got {count}")
    scenes = [_spline(cameras[b : b + 1], frames, in_order) for b in range(len(cameras.extrinsics))]
    return Cameras(
        extrinsics=torch.cat([s.extrinsics for s in scenes]),
        intrinsics=torch.cat([s.intrinsics for s in scenes]),
    )


def visiting_order(cameras: Cameras) -> Int[Tensor, "B V"]:
    """Indices of the views along a short walk through them.

    The given order stands if it is nearly as short (a video, a walk around): at most 1.5 times. Otherwise
    it is a nearest-neighbour walk from the first view, improved by reversing stretches (2-opt).
    """
    orders = []
    for extrinsics in cameras.extrinsics.double():
        distance = torch.from_numpy(pose_distances(extrinsics.numpy()))
        given = list(range(len(distance)))
        short = _improved(_nearest_walk(distance), distance)
        orders.append(given if _length(given, distance) <= 1.5 * _length(short, distance) else short)
    return torch.tensor(orders)


def _spline(cameras: Cameras, frames: int, in_order: bool) -> Cameras:
    order = list(range(cameras.extrinsics.shape[1])) if in_order else visiting_order(cameras)[0].tolist()
    extrinsics, K = cameras.extrinsics[0, order].double(), cameras.intrinsics[0, order].double()
    distance = torch.from_numpy(pose_distances(extrinsics.numpy()))
    steps = distance.diagonal(offset=1)
    # Equal neighbours would give a step of no length.
    steps = steps.clamp(min=1e-6 * float(steps.max()) or 1.0)
    travelled = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    # Knots at the square root of their distance (centripetal): with the distance itself a short step beside
    # a long one makes the path swing out far beyond both.
    times = torch.cat((steps.new_zeros(1), steps.sqrt().cumsum(0)))

    from scipy.interpolate import PchipInterpolator  # here: it takes as long to import as all of ours

    cam_to_world = se3.invert(extrinsics)
    knots = torch.cat(
        (
            cam_to_world[:, :3, 3],
            _same_side(quat_xyzw_from_matrix(cam_to_world[:, :3, :3])),
            torch.stack((K[:, 0, 0], K[:, 1, 1]), dim=-1).log(),
            K[:, :2, 2],
        ),
        dim=-1,
    )
    way = torch.linspace(0, float(travelled[-1]), frames, dtype=times.dtype)
    # Frames are even in distance; the monotone cubic from distance to time keeps the speed free of jumps.
    at = torch.from_numpy(PchipInterpolator(travelled.numpy(), times.numpy())(way.numpy()))
    centre, quat, log_focal, principal = _hermite(times, knots, at).split((3, 4, 2, 2), dim=-1)
    path = se3.from_rotation_translation(matrix_from_quat_xyzw(quat), centre)
    return Cameras(
        extrinsics=se3.invert(path)[None].to(cameras.extrinsics),
        intrinsics=intrinsics_matrix(log_focal.exp(), principal)[None].to(cameras.intrinsics),
    )


def _hermite(
    times: Float[Tensor, " n"], knots: Float[Tensor, "n c"], at: Float[Tensor, " F"]
) -> Float[Tensor, "F c"]:
    """Cubic pieces through the knots; tangents are those of the parabola through three neighbours."""
    step = times.diff()[:, None]
    slope = knots.diff(dim=0) / step
    inner = (slope[:-1] * step[1:] + slope[1:] * step[:-1]) / (step[1:] + step[:-1])
    tangent = torch.cat((slope[:1], inner, slope[-1:]))
    i = (torch.searchsorted(times, at, right=True) - 1).clamp(0, len(times) - 2)
    h = step[i]
    s = (at - times[i])[:, None] / h
    return (
        (2 * s**3 - 3 * s**2 + 1) * knots[i]
        + (s**3 - 2 * s**2 + s) * h * tangent[i]
        + (3 * s**2 - 2 * s**3) * knots[i + 1]
        + (s**3 - s**2) * h * tangent[i + 1]
    )


def _same_side(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
    """Signs chosen along the path so that neighbours lie on one side: q and -q are one rotation."""
    flips = torch.where((quats[1:] * quats[:-1]).sum(-1) < 0, -1.0, 1.0).to(quats)
    return quats * torch.cat((flips.new_ones(1), flips.cumprod(0)))[:, None]


def _nearest_walk(distance: Float[Tensor, "V V"]) -> list[int]:
    order, left = [0], set(range(1, len(distance)))
    while left:
        nearest = min(left, key=lambda j: float(distance[order[-1], j]))
        order.append(nearest)
        left.remove(nearest)
    return order


def _improved(order: list[int], distance: Float[Tensor, "V V"]) -> list[int]:
    """2-opt: reverse stretches while that shortens the walk; the first view stays first."""
    D, n = distance.tolist(), len(order)
    improved = True
    while improved:
        improved = False
        for i in range(1, n - 1):
            for j in range(i + 1, n):
                before, after = D[order[i - 1]][order[i]], D[order[i - 1]][order[j]]
                if j + 1 < n:
                    following = order[j + 1]
                    before, after = before + D[order[j]][following], after + D[order[i]][following]
                if after < before - 1e-12:
                    order[i : j + 1] = order[i : j + 1][::-1]
                    improved = True
    return order


def _length(order: list[int], distance: Float[Tensor, "V V"]) -> float:
    return float(distance[order[:-1], order[1:]].sum())

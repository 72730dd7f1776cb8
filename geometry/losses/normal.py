"""L_N: distance-weighted surface normals."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.losses.reduce import mean_of_views
from geometry.ops.pinhole import pixel_rays


def normal_loss(
    depth: Float[Tensor, "*views H W"],
    target: Float[Tensor, "*views H W"],
    valid: Bool[Tensor, "*views H W"],
    intrinsics: Float[Tensor, "*views 3 3"],
) -> Float[Tensor, ""]:
    """L_N = E(n_m^, n_m) + sum_i E(n_i^, n_i), E the angle in radians, the mean of each view's valid
    pixels, then of views.

    n_i are the normals of the four triangles that a pixel spans with its neighbours (`normals_around`); n_m
    is their mean with weights w_i = sum_j ||n_j|| - ||n_i||, which favours small triangles: those do not
    reach across a depth edge. A pixel is valid if it and its four neighbours are. The paper writes the
    sums from 0 to 4 for four neighbours; here they have four terms.

    Args:
        depth: after scale-shift alignment: normals depend on the shift.

    Source: DA3 (arXiv:2511.10647) section 4.
    """
    # Masked depths become 1: any number that gives no NaN.
    depth, target = torch.where(valid, depth, 1.0), torch.where(valid, target, 1.0)
    inside = valid[..., 1:-1, 1:-1] & valid[..., :-2, 1:-1] & valid[..., 2:, 1:-1]
    inside = inside & valid[..., 1:-1, :-2] & valid[..., 1:-1, 2:]
    # In units of the true surface that a pixel covers, so that what is rounded off below (`_length`) is as
    # small next to a near triangle as next to a far one.
    footprint = (
        target[..., 1:-1, 1:-1].square() / (intrinsics[..., 0, 0] * intrinsics[..., 1, 1])[..., None, None]
    )
    ours = normals_around(depth, intrinsics) / footprint[..., None, None]
    theirs = normals_around(target, intrinsics) / footprint[..., None, None]
    error = angle(mean_normal(ours), mean_normal(theirs)) + angle(ours, theirs).sum(-1)
    return mean_of_views(error, inside)


def normals_around(
    depth: Float[Tensor, "*views H W"], intrinsics: Float[Tensor, "*views 3 3"]
) -> Float[Tensor, "*views H-2 W-2 4 3"]:
    """Un-normalised normals of the triangles (right, down), (down, left), (left, up), (up, right).

    In camera axes, for inner pixels; a surface that faces the camera has positive z.
    """
    H, W = depth.shape[-2:]
    points = depth[..., None] * pixel_rays(torch.linalg.inv(intrinsics), (H, W))
    centre = points[..., 1:-1, 1:-1, :]
    right, left = points[..., 1:-1, 2:, :] - centre, points[..., 1:-1, :-2, :] - centre
    down, up = points[..., 2:, 1:-1, :] - centre, points[..., :-2, 1:-1, :] - centre
    first = torch.stack((right, down, left, up), dim=-2)
    return torch.linalg.cross(first, first.roll(-1, dims=-2), dim=-1)


def mean_normal(normals: Float[Tensor, "*shape 4 3"]) -> Float[Tensor, "*shape 3"]:
    """n_m = sum_i w_i n_i / ||n_i||, w_i = sum_j ||n_j|| - ||n_i||."""
    length = _length(normals)
    weight = length.sum(-2, keepdim=True) - length
    return (weight * normals / length).sum(-2)


def angle(first: Float[Tensor, "*shape 3"], second: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
    """Angle between vectors of any length, radians in 0..pi, with finite gradients everywhere.

    From sine and cosine: arccos alone has an infinite gradient where vectors agree, the goal of training.
    """
    first, second = first / _length(first), second / _length(second)
    sine = _length(torch.linalg.cross(first, second, dim=-1))[..., 0]
    return torch.atan2(sine, (first * second).sum(-1))


def _length(vector: Tensor) -> Tensor:
    """Norm with a kept axis, rounded off at 0 where its gradient would not exist."""
    square = (vector * vector).sum(-1, keepdim=True)
    return (square + torch.finfo(vector.dtype).eps ** 2).sqrt()

"""Quaternions and rotation matrices: the only copy in the project.

Each function says which component order it takes. The network and its pose encoding use xyzw (scalar
last); gsplat, COLMAP and the PLY layout use wxyz (scalar first).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def matrix_from_quat_xyzw(quat: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion of any non-zero norm, by whose square it divides; scalar last."""
    x, y, z, w = quat.unbind(-1)
    s = 2.0 / (quat * quat).sum(-1)
    rows = (
        1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
        s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
        s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def quat_xyzw_from_matrix(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion of a rotation matrix, scalar last and not negative.

    Of the four algebraically equal solutions it takes the one with the largest divisor, which keeps
    full precision at every angle; the divisor's floor of 0.1 bounds gradients and is never reached by
    the chosen one.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = rotation.flatten(-2).unbind(-1)
    squares = torch.stack(
        (1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22), dim=-1
    )
    # A plain sqrt(clamp(x, 0)) has an infinite gradient at 0, which poisons the unchosen branches too.
    positive = squares > 0
    divisors = torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)  # 2|w| 2|x| 2|y| 2|z|
    candidates = torch.stack(
        (
            torch.stack((divisors[..., 0] ** 2, m21 - m12, m02 - m20, m10 - m01), dim=-1),
            torch.stack((m21 - m12, divisors[..., 1] ** 2, m10 + m01, m02 + m20), dim=-1),
            torch.stack((m02 - m20, m10 + m01, divisors[..., 2] ** 2, m12 + m21), dim=-1),
            torch.stack((m10 - m01, m20 + m02, m21 + m12, divisors[..., 3] ** 2), dim=-1),
        ),
        dim=-2,
    ) / (2.0 * divisors[..., None].clamp(min=0.1))
    best = divisors.argmax(dim=-1)[..., None, None].expand(*divisors.shape[:-1], 1, 4)
    w, x, y, z = candidates.gather(-2, best)[..., 0, :].unbind(-1)
    quat = torch.stack((x, y, z, w), dim=-1)
    return torch.where(quat[..., 3:] < 0, -quat, quat)


def turn_quat_xyzw(
    rotation: Float[Tensor, "*groups 3 3"], quat: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch 4"]:
    """Quaternions of any non-zero norm turned from the left; the result is unit, its scalar not negative."""
    first = quat_xyzw_from_matrix(rotation)
    (u, s), (v, t) = (first[..., :3], first[..., 3:]), (quat[..., :3], quat[..., 3:])
    u, v = torch.broadcast_tensors(u, v)
    product = torch.cat(
        (s * v + t * u + torch.linalg.cross(u, v), s * t - (u * v).sum(-1, keepdim=True)), dim=-1
    )
    product = torch.nn.functional.normalize(product, dim=-1)
    return torch.where(product[..., 3:] < 0, -product, product)


def xyzw_from_wxyz(quat: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    return quat.roll(-1, dims=-1)


def wxyz_from_xyzw(quat: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    return quat.roll(1, dims=-1)


def angle_between(
    first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Geodesic angle between rotations, radians in 0..pi.

    From both the chord and the trace, since arccos of the trace alone loses half the digits near 0.
    """
    relative = first.mT @ second
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    skew = relative - relative.mT
    sine = torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), dim=-1).norm(dim=-1) / 2
    return torch.atan2(sine, cosine)

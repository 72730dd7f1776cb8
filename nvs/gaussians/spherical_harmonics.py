"""Real spherical harmonics of the 3DGS convention: basis and rotation of coefficients.

The terms of degree l stand at l*l .. (l+1)*(l+1) - 1. Their signs and order are those of the 3DGS
renderer, so degree 1 is (-y, z, -x): not the order of textbooks, but of every Gaussian file.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MAX_DEGREE = 3


def sh_basis(directions: Float[Tensor, "*batch 3"], degree: int) -> Float[Tensor, "*batch K"]:
    """Basis functions of degree 0 .. ``degree`` at unit directions; K is (degree + 1) squared.

    Directions go from the camera to the Gaussian, in the frame of the coefficients.

    Source: Kerbl et al. 2023 (3D Gaussian Splatting); the constants are those of the orthonormal real
    basis, with the Condon-Shortley phase.
    """
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics: expected a degree in 0..{MAX_DEGREE}, got {degree}")
    x, y, z = directions.unbind(-1)
    terms = [torch.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree >= 3:
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(terms, dim=-1)


def sh_colours(
    sh: Float[Tensor, "N K 3"], directions: Float[Tensor, "N 3"], degree: int
) -> Float[Tensor, "N 3"]:
    """Colours as they are drawn, from 0 on, of coefficients up to ``degree``.

    Args:
        directions: from the camera to the Gaussians, of any length, in the frame of the coefficients.
    """
    basis = sh_basis(F.normalize(directions, dim=-1), degree)
    return (torch.einsum("nk,nkc->nc", basis, sh[:, : basis.shape[1]]) + 0.5).clamp(min=0)


def rotate_sh(
    sh: Float[Tensor, "*batch K 3"], rotation: Float[Tensor, "*groups 3 3"]
) -> Float[Tensor, "*batch K 3"]:
    """Coefficients of the same function after the world is turned: f'(d) = f(R^T d).

    Differentiable in both arguments. Axes of ``rotation`` before its last two broadcast against those of
    ``sh`` before its last two. Where Gaussians share a rotation give it once, with axes of size 1
    (``rotation[:, :, None, None]``, one per view): no matrix is then built per Gaussian.

    Args:
        rotation: proper rotations that carry directions of the old frame to the new one.
    """
    return torch.cat(
        [sh[..., :1, :]]
        + [
            # einsum folds axes of size 1 of the matrix into one product; matmul would copy the matrix.
            torch.einsum(
                "...ij,...jc->...ic", _degree_rotation(rotation, l), sh[..., l * l : (l + 1) ** 2, :]
            )
            for l in range(1, _degree(sh) + 1)
        ],
        dim=-2,
    )


def _degree_rotation(rotation: Float[Tensor, "*groups 3 3"], l: int) -> Float[Tensor, "*groups n n"]:
    """The matrix on the 2l + 1 coefficients of degree l.

    Degree l is closed under rotation, so the turned function is fixed by its values at enough
    directions: sample f(R^T d) there, then fit. The fit is one constant matrix and the samples are
    polynomials in R, which makes this exact and differentiable with no case of angles.
    """
    directions, fit = _samples(l)
    directions, fit = directions.to(rotation), fit.to(rotation)
    turned = directions @ rotation  # rows are R^T d
    return fit @ sh_basis(turned, l)[..., l * l :]


@lru_cache
@torch.inference_mode(False)  # cached: what inference makes first, training must be able to use
def _samples(l: int) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "m n"]]:
    """Directions spread over the sphere (a Fibonacci spiral), and the least-squares fit of degree l."""
    count = 32
    step = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * step + 1) / count
    azimuth = step * torch.pi * (3 - 5**0.5)
    radius = (1 - z * z).sqrt()
    directions = torch.stack((radius * azimuth.cos(), radius * azimuth.sin(), z), dim=-1)
    return directions, torch.linalg.pinv(sh_basis(directions, l)[:, l * l :])


def _degree(sh: Float[Tensor, "*batch K 3"]) -> int:
    degree = round(sh.shape[-2] ** 0.5) - 1
    if (degree + 1) ** 2 != sh.shape[-2] or not 0 <= degree <= MAX_DEGREE:
        raise ValueError(
            f"spherical harmonics [..., K, 3]: expected K = 1, 4, 9 or 16 terms, got {sh.shape[-2]}"
        )
    return degree

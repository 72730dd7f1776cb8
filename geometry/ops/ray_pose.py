"""Cameras from predicted ray maps: the inverse of `geometry.ops.rays.rays_from_cameras`.

Everything here works in NDC, in which the image spans -1..1 on both axes, and in float64.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix, pixel_grid
from geometry.tensors import TensorRecord
from geometry.views import Cameras

HYPOTHESES = 256
MAX_SCORED = 1024  # rays on which a hypothesis is scored
REFINEMENTS = 10
VIEWS_AT_A_TIME = 4  # bounds memory: about 30 MB at MAX_RAYS
MAX_RAYS = 8192
# How far principal points usually lie from the image centre, in half images: the scale of a Cauchy prior. On
# noisy rays a moved principal point and a turned camera look alike, so that without a prior the rotation is
# several times worse; noise-free rays overrule it, and its long tail lets real crops through.
PRINCIPAL_SPREAD = 0.01
RAYLEIGH_MEDIAN = 1.1774  # median length of a 2-D Gaussian vector of unit deviation
SMALLEST_SLOPE = 1e-4  # 1 / focal_ndc: keeps a camera from garbage rays finite


@dataclass(frozen=True, kw_only=True)
class RayCameras(TensorRecord):
    """Cameras found from rays, and their intrinsics free of the image size."""

    cameras: Cameras
    focal_ndc: Float[Tensor, "B V 2"]  # (x, y), in half images
    principal_ndc: Float[Tensor, "B V 2"]  # (x, y), 0 at the image centre


@torch.no_grad()
def cameras_from_rays(
    rays: Float[Tensor, "B V h w 6"],
    conf: Float[Tensor, "B V h w"] | None,
    image_size: tuple[int, int],
    *,
    seed: int = 0,
) -> RayCameras:
    """Camera of each ray map; without gradient, and the same for the same seed on every device.

    The centre is the mean of origins (eq. 1). Directions are H p up to length for the cell p = (x, y, 1),
    with H = R K^-1; H minimises sum ||H p x d||^2 over ||H|| = 1 (eq. 2). K^-1 is upper triangular, so
    the QR decomposition of H gives the rotation cam_to_world and the intrinsics, wherever the principal
    point lies. Beyond the paper, for predicted rays: H starts from a consensus of four-ray samples, the
    camera (no skew) is then refined on the angular error, and both it and the centre weigh a ray by its
    confidence and down by its residual (Cauchy), so that half of the rays may be wrong.

    Args:
        conf: weights of rays, not negative; None weighs them equally.
        image_size: (H, W) to which the returned intrinsics refer.

    Raises:
        ValueError: a view has fewer than 8 finite rays of positive weight.

    Source: DA3 (arXiv:2511.10647) eq. 1 and 2.
    """
    B, V, h, w, _ = rays.shape
    conf = torch.ones_like(rays[..., 0]) if conf is None else conf
    flat_rays, flat_conf = rays.reshape(B * V, h * w, 6), conf.reshape(B * V, h * w)
    cells = pixel_grid((2, 2), (h, w), device=rays.device, dtype=torch.float64) - 1  # NDC
    points = torch.cat((cells, torch.ones_like(cells[..., :1])), dim=-1).reshape(h * w, 3)
    generator = torch.Generator().manual_seed(seed)

    chosen = slice(None)
    if h * w > MAX_RAYS:
        # Random, not strided: a stride can fall in step with the image's width.
        chosen = torch.randperm(h * w, generator=generator)[:MAX_RAYS].to(rays.device)
    parts = [
        _decompose(
            flat_rays[i : i + VIEWS_AT_A_TIME, chosen].double(),
            flat_conf[i : i + VIEWS_AT_A_TIME, chosen].double(),
            points[chosen],
            generator,
            first_view=i,
        )
        for i in range(0, B * V, VIEWS_AT_A_TIME)
    ]
    found = (torch.cat(values) for values in zip(*parts))
    rotation, centre, focal, principal = (value.unflatten(0, (B, V)).to(rays) for value in found)
    half = rays.new_tensor([image_size[1] / 2, image_size[0] / 2])
    cameras = Cameras(
        extrinsics=se3.invert(se3.from_rotation_translation(rotation, centre)),
        intrinsics=intrinsics_matrix(focal * half, (principal + 1) * half),
    )
    return RayCameras(cameras=cameras, focal_ndc=focal, principal_ndc=principal)


def _decompose(
    rays: Tensor, conf: Tensor, points: Tensor, generator: torch.Generator, first_view: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotation, centre, focal, principal of [n, r, 6] rays in float64."""
    length = rays[..., :3].norm(dim=-1)
    usable = rays.isfinite().all(-1) & (length > 0) & conf.isfinite() & (conf > 0)
    if (usable.sum(-1) < 8).any():
        view = first_view + int((usable.sum(-1) < 8).nonzero()[0, 0])
        raise ValueError(f"ray map {view} (scene-major): a camera needs 8 finite rays of positive weight")
    conf = torch.where(usable, conf, 0.0)
    rays = torch.where(usable[..., None], rays, 0.0)
    unit = rays[..., :3] / torch.where(usable, length, 1.0)[..., None]

    H = _consensus(unit, conf, points, generator)
    H = _direct_linear(unit, conf * _within(_angular(H, unit, points), conf), points)
    rotation, upper = positive_qr(H)
    upper = upper / upper[:, 2:, 2:]
    # Without skew, directions in the camera are (ax x + bx, ay y + by, 1).
    slope = upper.diagonal(dim1=-2, dim2=-1)[:, :2].clamp(min=SMALLEST_SLOPE)
    rotation, slope, offset = _refine((rotation, slope, upper[:, :2, 2]), unit, conf, points)
    return rotation, _robust_mean(rays[..., 3:], conf), 1 / slope, -offset / slope


def _consensus(unit: Tensor, conf: Tensor, points: Tensor, generator: torch.Generator) -> Tensor:
    """Best of many homographies through four rays each."""
    n, r = conf.shape
    # Drawn on the CPU, so that every device sees the same samples.
    sample = torch.multinomial(conf.cpu(), HYPOTHESES * 4, replacement=True, generator=generator)
    sample = sample.to(conf.device)
    p = points[sample].unflatten(1, (HYPOTHESES, 4))
    d = unit.gather(1, sample[..., None].expand(-1, -1, 3)).unflatten(1, (HYPOTHESES, 4))
    # H takes p1, p2, p3 to multiples of d1, d2, d3; the fourth ray fixes the multiples.
    p_basis, d_basis = p[:, :, :3].mT, d[:, :, :3].mT
    p_inverse = torch.linalg.inv_ex(p_basis).inverse
    multiples = torch.linalg.solve_ex(d_basis, d[:, :, 3]).result / (p_inverse @ p[:, :, 3, :, None])[..., 0]
    H = _positive((d_basis * multiples[..., None, :]) @ p_inverse).nan_to_num(0.0, 0.0, 0.0)

    scored = torch.randperm(r, generator=generator)[:MAX_SCORED].to(conf.device)
    weight = conf[:, scored]
    error = torch.stack(
        [_angular(H[i], unit[i, scored], points[scored]) for i in range(n)]
    )  # [n, HYPOTHESES, scored]
    spread = _weighted_median(error, weight[:, None].expand_as(error)).min(dim=1).values
    truncation = (3 * spread).clamp(min=1e-9)[:, None, None]
    cost = (torch.minimum(error, truncation) * weight[:, None]).sum(-1)
    return H[torch.arange(n, device=H.device), cost.argmin(dim=1)]


def _direct_linear(unit: Tensor, weight: Tensor, points: Tensor) -> Tensor:
    """argmin over ||H|| = 1 of sum w ||H p x d||^2, for unit d; of positive determinant."""
    # ||Hp x d||^2 = (Hp)' (1 - d d') (Hp) is quadratic in H: one 9 x 9 matrix, however many rays.
    side = torch.eye(3).to(unit) - unit[..., :, None] * unit[..., None, :]
    normal = torch.einsum("nr,nrij,rk,rl->nikjl", weight, side, points, points).reshape(-1, 9, 9)
    scale = weight.sum(-1).clamp(min=1e-300)
    vectors = torch.linalg.eigh(normal / scale[:, None, None]).eigenvectors
    return _positive(vectors[..., 0].unflatten(-1, (3, 3)))


_Camera = tuple[Tensor, Tensor, Tensor]  # rotation [n, 3, 3]; slope and offset [n, 2] of directions over NDC


def _refine(start: _Camera, unit: Tensor, conf: Tensor, points: Tensor) -> _Camera:
    """Gauss-Newton on the angular error, Cauchy weights and prior; a distinctly better start is kept."""
    share = conf / conf.sum(-1, keepdim=True) * (conf > 0).sum(-1, keepdim=True)  # mean 1 over usable rays
    rotation, slope, offset = start
    for _ in range(REFINEMENTS):
        q = unit @ rotation  # observed directions in the camera
        b, norm = _directions(slope, offset, points)
        residual = q - b
        # d unit(b) / d b = (1 - b b') / |b|; columns 0 and 1 belong to b's two free components.
        tangent = ((torch.eye(3).to(b) - b[..., :, None] * b[..., None, :]) / norm[..., None])[..., :2]
        # Turning the camera by the small vector a changes q by q x a.
        jacobian = torch.cat((_skew(q), -tangent * points[:, None, :2], -tangent), dim=-1)  # [n, r, 3, 7]

        error = residual.norm(dim=-1)
        sigma = _weighted_median(error, conf).clamp(min=1e-12) / RAYLEIGH_MEDIAN
        weight = _cauchy(error, conf) / conf.clamp(min=1e-300) * share / sigma[:, None].square()
        normal = torch.einsum("nr,nrik,nril->nkl", weight, jacobian, jacobian)
        gradient = torch.einsum("nr,nrik,nri->nk", weight, jacobian, residual)
        # The prior's precision, as an iteratively reweighted square, in units of the offset.
        precision = 2 / (PRINCIPAL_SPREAD**2 + (offset / slope).square()) / slope.square()
        normal[:, [5, 6], [5, 6]] += precision
        gradient[:, 5:] += precision * offset
        normal = normal + torch.diag_embed(1e-9 * normal.diagonal(dim1=-2, dim2=-1) + 1e-300)
        step = -torch.linalg.solve_ex(normal, gradient).result.nan_to_num(0.0, 0.0, 0.0)
        rotation = rotation @ torch.linalg.matrix_exp(_skew(step[:, :3].clamp(-0.5, 0.5)))
        # A step may not turn a focal length over.
        slope = torch.maximum(slope + step[:, 3:5], 0.3 * slope).clamp(min=SMALLEST_SLOPE)
        offset = offset + step[:, 5:]
    end = (rotation, slope, offset)
    before, after = (_cost(camera, unit, conf, points) for camera in (start, end))
    better = after <= 1.2 * before + 1e-12
    return tuple(  # type: ignore[return-value]
        torch.where(better.reshape(-1, *[1] * (new.dim() - 1)), new, old) for new, old in zip(end, start)
    )


def _directions(slope: Tensor, offset: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions (slope * point + offset, 1) in the camera, and their lengths before."""
    b = points[:, :2] * slope[:, None] + offset[:, None]
    b = torch.cat((b, torch.ones_like(b[..., :1])), dim=-1)
    norm = b.norm(dim=-1, keepdim=True)
    return b / norm, norm


def _cost(camera: _Camera, unit: Tensor, conf: Tensor, points: Tensor) -> Tensor:
    """Weighted mean angular error: not squared, hence dominated by the good half of rays."""
    rotation, slope, offset = camera
    error = (unit @ rotation - _directions(slope, offset, points)[0]).norm(dim=-1)
    return (conf * error).sum(-1).nan_to_num(torch.inf)


def _robust_mean(values: Tensor, conf: Tensor) -> Tensor:
    """Mean of [n, r, 3] vectors, from their median on weighed down by distance (Cauchy)."""
    mean = torch.stack([_weighted_median(values[..., i], conf) for i in range(3)], dim=-1)
    for _ in range(REFINEMENTS):
        weight = _cauchy((values - mean[:, None]).norm(dim=-1), conf)
        mean = (weight[..., None] * values).sum(-2) / weight.sum(-1, keepdim=True)
    return mean


def _cauchy(error: Tensor, conf: Tensor) -> Tensor:
    """Confidence times 1 / (1 + (error / c)^2), c from the weighted median error."""
    # 2.385 deviations keep 95 % efficiency on Gaussian noise.
    scale = 2.385 / RAYLEIGH_MEDIAN * _weighted_median(error, conf).clamp(min=1e-12)
    return conf / (1 + (error / scale[:, None]).square())


def _within(error: Tensor, conf: Tensor) -> Tensor:
    """1 where the error is within three times its weighted median, which clean rays always are."""
    return (error <= 3 * _weighted_median(error, conf).clamp(min=1e-9)[:, None]).to(error)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Along the last axis: the value at which half of the weight is reached."""
    values, order = values.sort(dim=-1)
    cumulative = weights.gather(-1, order).cumsum(-1)
    middle = torch.searchsorted(cumulative, cumulative[..., -1:] / 2)
    return values.gather(-1, middle.clamp(max=values.shape[-1] - 1))[..., 0]


def _angular(H: Tensor, unit: Tensor, points: Tensor) -> Tensor:
    """Chord between the directions H p and d: about the angle when small, 2 when opposite."""
    mapped = points @ H.mT
    return (mapped / mapped.norm(dim=-1, keepdim=True).clamp(min=1e-300) - unit).norm(dim=-1)


def _positive(H: Tensor) -> Tensor:
    """The sign for which directions leave forwards: det(R K^-1) > 0."""
    return torch.where((torch.linalg.det(H) < 0)[..., None, None], -H, H)


def _skew(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))


def positive_qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Orthogonal times upper triangular with positive diagonal."""
    Q, R = torch.linalg.qr(matrix)
    sign = torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(matrix)
    return Q * sign[..., None, :], R * sign[..., :, None]

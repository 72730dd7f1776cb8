"""Cameras from rays as the released network computes them, defects included: a referee for its numbers."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix, pixel_grid
from geometry.ops.ray_pose import RayCameras, positive_qr
from geometry.views import Cameras

ITERATIONS = 100
SAMPLE = 8
INLIER_ERROR = 0.2  # in units of direction / z
MAX_REFIT = 8000


def released_cameras_from_rays(
    rays: Float[Tensor, "B V h w 6"],
    conf: Float[Tensor, "B V h w"] | None,
    image_size: tuple[int, int],
    *,
    seed: int = 0,
    indices: Int[Tensor, "i s"] | None = None,
) -> RayCameras:
    """`geometry.ops.ray_pose.cameras_from_rays` as released.

    The direction map R K^-1 is decomposed as orthogonal times *lower* triangular, which is right only if
    the principal point is central: elsewhere rotation and intrinsics are biased.

    Args:
        indices: ranks, in falling confidence, that each iteration samples; drawn if None.

    Source: the released DA3 network.
    """
    B, V, h, w, _ = rays.shape
    conf = torch.ones_like(rays[..., 0]) if conf is None else conf
    cells = pixel_grid((2, 2), (h, w), device=rays.device, dtype=torch.float64) - 1  # NDC
    points = torch.cat((cells, torch.ones_like(cells[..., :1])), dim=-1).reshape(h * w, 3).to(rays)
    generator = torch.Generator().manual_seed(seed)
    rays, conf = rays.reshape(B * V, h * w, 6), conf.reshape(B * V, h * w)

    z = rays[..., 2:3]
    usable = z.abs() > 1e-4
    slopes = rays[..., :2] / torch.where(usable, z, torch.ones_like(z))
    conf = torch.where(usable[..., 0], conf, torch.zeros_like(conf))
    candidates = max(SAMPLE, int(0.3 * rays.shape[1]))
    if indices is None:
        indices = torch.stack(
            [torch.randperm(candidates, generator=generator)[:SAMPLE] for _ in range(ITERATIONS)]
        )
    indices = indices.to(rays.device)

    maps = [_fit_view(s, c, points, indices, generator) for s, c in zip(slopes, conf)]  # one by one: memory
    maps = torch.stack(maps)
    maps = torch.where((torch.linalg.det(maps) < 0)[:, None, None], -maps, maps)
    # Orthogonal times lower triangular: the QR of the column-reversed matrix.
    rotation, lower = positive_qr(maps.flip(-1))
    rotation, lower = rotation.flip(-1), lower.flip((-2, -1))
    lower = lower / lower[:, 2:, 2:]
    focal = 1 / torch.stack((lower[:, 0, 0], lower[:, 1, 1]), dim=-1)
    share = conf / conf.sum(-1, keepdim=True)
    centre = (share[..., None] * rays[..., 3:]).sum(-2)
    found = (rotation, centre, focal, lower[:, 2, :2])
    rotation, centre, focal, principal = (value.unflatten(0, (B, V)) for value in found)
    half = rays.new_tensor([image_size[1] / 2, image_size[0] / 2])
    cameras = Cameras(
        extrinsics=se3.invert(se3.from_rotation_translation(rotation, centre)),
        intrinsics=intrinsics_matrix(focal * half, (principal + 1) * half),
    )
    return RayCameras(cameras=cameras, focal_ndc=focal, principal_ndc=principal)


def _fit_view(
    slopes: Tensor, conf: Tensor, points: Tensor, indices: Tensor, generator: torch.Generator
) -> Tensor:
    chosen = conf.argsort(descending=True)[indices]  # [iterations, sample]
    hypotheses = _homography(points[chosen], slopes[chosen], conf[chosen])
    mapped = points @ hypotheses.mT  # [iterations, r, 3]
    inliers = (mapped[..., :2] / mapped[..., 2:] - slopes).norm(dim=-1) < INLIER_ERROR
    kept = inliers[(inliers * conf).sum(-1).argmax()].nonzero()[:, 0]
    if len(kept) > MAX_REFIT:
        kept = kept[conf[kept].argsort(descending=True)]
        kept = kept[: max(MAX_REFIT, int(0.95 * len(kept)))]
        kept = kept[torch.randperm(len(kept), generator=generator)[:MAX_REFIT].to(kept.device)]
    return _homography(points[kept], slopes[kept], conf[kept])


def _homography(points: Tensor, slopes: Tensor, weights: Tensor) -> Tensor:
    """Weighted DLT: [..., k, 3] points to [..., k, 2] slopes, as [..., 3, 3] with last element 1."""
    root = weights.sqrt()[..., None]
    zero = torch.zeros_like(points)
    u, v = slopes[..., :1], slopes[..., 1:]
    rows = torch.cat(
        (
            torch.cat((-points, zero, u * points), dim=-1) * root,
            torch.cat((zero, -points, v * points), dim=-1) * root,
        ),
        dim=-2,
    )
    # With k >= 5 rays there are at least nine rows, and the thin factor holds all nine right vectors: the
    # square one would be [2k, 2k].
    solution = torch.linalg.svd(rows, full_matrices=False).Vh[..., -1, :].unflatten(-1, (3, 3))
    return solution / solution[..., 2:, 2:]

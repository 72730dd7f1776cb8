"""The pinhole camera: pixels, projection, fields of view, intrinsics under resizing."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.views import Cameras


def pixel_grid(
    image_size: tuple[int, int],
    grid: tuple[int, int] | None = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "h w 2"]:
    """Pixel coordinates (x, y) of the centres of (h, w) cells (None: pixels) that tile an (H, W) image."""
    (H, W), (h, w) = image_size, grid or image_size
    x = (torch.arange(w, device=device, dtype=dtype) + 0.5) * (W / w)
    y = (torch.arange(h, device=device, dtype=dtype) + 0.5) * (H / h)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((x, y), dim=-1)


def pixel_rays(
    pixel_to_direction: Float[Tensor, "*batch 3 3"],
    image_size: tuple[int, int],
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "*batch h w 3"]:
    """Directions through the centres of `pixel_grid`'s cells: the matrix times (x, y, 1).

    Args:
        pixel_to_direction: the inverse of intrinsics gives directions in camera axes, with z = 1; with the
            rotation to the world in front of it they are in world axes.
    """
    M = pixel_to_direction
    pixels = pixel_grid(image_size, grid, device=M.device, dtype=M.dtype)
    pixels = torch.cat((pixels, torch.ones_like(pixels[..., :1])), dim=-1)  # [h, w, 3]
    return torch.einsum("...ij,hwj->...hwi", M, pixels)


def project(
    points: Float[Tensor, "B V *n 3"], cameras: Cameras
) -> tuple[Float[Tensor, "B V *n 2"], Float[Tensor, "B V *n"]]:
    """Pixel and z-depth of world points, each view its own points; depth <= 0 is behind the camera."""
    local = se3.transform(cameras.extrinsics, points.flatten(2, -2))
    homogeneous = local @ cameras.intrinsics.mT
    depth = local[..., 2]
    # Points in the camera plane have no pixel; a tiny divisor keeps them finite and far outside.
    tiny = torch.finfo(depth.dtype).tiny ** 0.5
    divisor = torch.where(depth.abs() < tiny, torch.full_like(depth, tiny), depth)
    pixels = homogeneous[..., :2] / divisor[..., None]
    shape = points.shape[2:-1]
    return pixels.unflatten(2, shape), depth.unflatten(2, shape)


def unproject(depth: Float[Tensor, "B V H W"], cameras: Cameras) -> Float[Tensor, "B V H W 3"]:
    """World points of a z-depth map, through every pixel's centre."""
    H, W = depth.shape[-2:]
    cam_to_world = se3.invert(cameras.extrinsics)
    rays = pixel_rays(cam_to_world[..., :3, :3] @ cameras.intrinsics.inverse(), (H, W))
    return cam_to_world[..., None, None, :3, 3] + depth[..., None] * rays


def fov_from_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], image_size: tuple[int, int]
) -> Float[Tensor, "*batch 2"]:
    """Vertical and horizontal field of view (h, w), radians, as if the principal point were central."""
    H, W = image_size
    fov_h = 2 * torch.atan(0.5 * H / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(0.5 * W / intrinsics[..., 0, 0])
    return torch.stack((fov_h, fov_w), dim=-1)


def intrinsics_from_fov(
    fov: Float[Tensor, "*batch 2"], image_size: tuple[int, int]
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics with a central principal point from fields of view (h, w) in radians."""
    H, W = image_size
    focal = 0.5 * fov.new_tensor([H, W]) / torch.tan(fov / 2).clamp(min=1e-6)
    return intrinsics_matrix(focal.flip(-1), fov.new_tensor([W / 2, H / 2]).expand_as(focal))


def intrinsics_matrix(
    focal: Float[Tensor, "*batch 2"], principal: Float[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] from (fx, fy) and (cx, cy)."""
    (fx, fy), (cx, cy) = focal.unbind(-1), principal.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack((fx, zero, cx, zero, fy, cy, zero, zero, one), dim=-1).unflatten(-1, (3, 3))


def resize_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], old_size: tuple[float, float], new_size: tuple[float, float]
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics of the image resized from (H, W) to (H, W); exact with pixel centres at 0.5."""
    factor = intrinsics.new_tensor([new_size[1] / old_size[1], new_size[0] / old_size[0], 1.0])
    return intrinsics * factor[:, None]

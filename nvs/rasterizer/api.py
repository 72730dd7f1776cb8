"""The public function: checks, choice of backend, and what all backends share at the end."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.gaussians import Gaussians, Rendering
from nvs.rasterizer.backends import choose_backend
from nvs.rasterizer.settings import Settings


def rasterize(
    gaussians: Gaussians,
    cameras: Cameras,
    image_size: tuple[int, int],
    *,
    background: Float[Tensor, "*#BV 3"] | None = None,
    near: float = 0.01,
    far: float = 1e10,
    eps2d: float = 0.3,
    antialiased: bool = False,
    depth: Literal["expected", "accumulated"] = "expected",
    colors: Float[Tensor, "B N 3"] | None = None,
    backend: str = "auto",
) -> Rendering:
    """Images of Gaussians seen by cameras, with gsplat's numbers on every backend.

    Differentiable in every field of ``gaussians``, ``colors``, ``background``, extrinsics and intrinsics.
    Cameras are ideal pinholes with their true principal point; skew must be 0. A Gaussian that is not
    finite, or whose projection is not, is left out as one behind the camera is.

    Args:
        image_size: (H, W) to which the intrinsics refer.
        background: colour behind everything, broadcast to [B, V, 3]; black if None.
        near: z-depth of the near plane, scene units; nearer means are left out.
        far: z-depth of the far plane.
        eps2d: added to the diagonal of every projected covariance, square pixels: nothing is thinner
            than its square root.
        antialiased: scale opacities by how much ``eps2d`` has spread each Gaussian (Mip-Splatting).
        depth: "expected" divides accumulated z-depth by alpha; where alpha is 0, depth is 0.
        colors: used instead of the spherical harmonics, as they are.
        backend: "auto" takes gsplat on CUDA tensors, the Numba kernels ("cpu") on CPU tensors and where
            gsplat's cannot be loaded; "cpu" takes CUDA tensors to the CPU and its images back. "torch" is the
            slow PyTorch twin. CPU and CUDA compute in float32, the twin in the dtype of its input.

    Raises:
        InputError: shapes, dtypes, devices or options do not fit.

    Source: 3D Gaussian Splatting (Kerbl et al. 2023) and gsplat 1.5.3 (`rendering.rasterization`).
    """
    if depth not in ("expected", "accumulated"):
        raise InputError(f"depth must be 'expected' or 'accumulated', got {depth!r}")
    if not 0 < near < far:
        raise InputError(f"0 < near < far is needed, got near={near}, far={far}")
    if not eps2d >= 0:
        raise InputError(f"eps2d must be at least 0 square pixels, got {eps2d}")
    _check(gaussians, cameras, colors)
    settings = Settings(
        image_size=_checked_size(image_size),
        near=float(near),
        far=float(far),
        eps2d=float(eps2d),
        antialiased=bool(antialiased),
    )
    device = gaussians.means.device
    backend = choose_backend(backend, device)
    if backend != "torch" and gaussians.means.dtype != torch.float32:
        raise InputError(
            f"backend {backend!r} computes in float32, got {gaussians.means.dtype}: "
            "convert with .float(), or use backend='torch'"
        )
    if backend == "cpu":
        gaussians, cameras = gaussians.to("cpu"), cameras.to("cpu")
        colors = None if colors is None else colors.to("cpu")
    if gaussians.means.device.type == "cpu":  # on CUDA reading the values would wait for the device
        _check_values(cameras)
    # Imported here so that neither Numba's kernels nor gsplat load before they are needed.
    if backend == "cuda":
        from nvs.rasterizer.cuda import render
    elif backend == "cpu":
        from nvs.rasterizer.cpu import render
    else:
        from nvs.rasterizer.twin import render
    rgb, accumulated, alpha = (t.to(device) for t in render(gaussians, colors, cameras, settings))

    if background is not None:
        B, V = cameras.extrinsics.shape[:2]
        try:
            background = background.to(rgb).expand(B, V, 3)
        except RuntimeError:
            raise InputError(
                f"background must broadcast to [B, V, 3] = [{B}, {V}, 3], got {list(background.shape)}"
            ) from None
        rgb = rgb + (1 - alpha)[:, :, None] * background[..., None, None]
    if depth == "expected":
        accumulated = accumulated / alpha.clamp(min=1e-10)
    return Rendering(rgb=rgb, depth=accumulated, alpha=alpha)


def _checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    H, W = (int(side) for side in image_size)
    if H < 1 or W < 1:
        raise InputError(f"image_size must be (H, W) of at least one pixel, got {tuple(image_size)}")
    return H, W


def _check(gaussians: Gaussians, cameras: Cameras, colors: Tensor | None) -> None:
    if gaussians.means.ndim != 3:
        raise InputError(f"gaussians.means must be [B, N, 3], got {list(gaussians.means.shape)}")
    B, N = gaussians.means.shape[:2]
    V = cameras.extrinsics.shape[1] if cameras.extrinsics.ndim == 4 else "V"
    K = gaussians.sh.shape[-2] if gaussians.sh.ndim == 4 else "K"
    wanted = {
        "gaussians.means": (gaussians.means, (B, N, 3)),
        "gaussians.quats": (gaussians.quats, (B, N, 4)),
        "gaussians.scales": (gaussians.scales, (B, N, 3)),
        "gaussians.opacities": (gaussians.opacities, (B, N)),
        "gaussians.sh": (gaussians.sh, (B, N, K, 3)),
        "cameras.extrinsics": (cameras.extrinsics, (B, V, 4, 4)),
        "cameras.intrinsics": (cameras.intrinsics, (B, V, 3, 3)),
    }
    if colors is not None:
        wanted["colors"] = (colors, (B, N, 3))
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise InputError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.device != gaussians.means.device or tensor.dtype != gaussians.means.dtype:
            raise InputError(
                f"{name} is {tensor.dtype} on {tensor.device}, gaussians.means is {gaussians.means.dtype} "
                f"on {gaussians.means.device}: all must agree"
            )
    if colors is None and K not in (1, 4, 9, 16):
        raise InputError(f"gaussians.sh must have K = 1, 4, 9 or 16 terms (degree 0 to 3), got {K}")


def _check_values(cameras: Cameras) -> None:
    if not (cameras.extrinsics.isfinite().all() and cameras.intrinsics.isfinite().all()):
        raise InputError("cameras must be finite: extrinsics or intrinsics hold NaN or infinity")
    if (cameras.intrinsics[..., 0, 1] != 0).any():
        raise InputError("cameras must have no skew: intrinsics[..., 0, 1] is not 0")

"""The slow, readable rasterizer in PyTorch: what the fast ones are tested against.

Projection, covariances and spherical harmonics are gsplat 1.5.3's own PyTorch functions. What gsplat has
only as CUDA kernels stands here in plain tensor code: which pixels a Gaussian touches, and compositing
front to back. Any floating dtype, any device; float64 passes gradcheck. Autograd does the backward pass.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops.pinhole import intrinsics_matrix
from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer.settings import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN, Settings


@cache
def gsplat_functions() -> ModuleType:
    """gsplat's own PyTorch functions, loaded without importing gsplat.

    Importing the package is not safe without CUDA: 1.5.3 starts its compiler at the first touch of the
    kernels wherever nvcc is on the machine, 1.6 already on import. The file with the PyTorch functions
    needs nothing but torch, so it is loaded alone.
    """
    package = importlib.util.find_spec("gsplat")
    if package is None or package.origin is None:
        raise ImportError("the PyTorch rasterizer is built on gsplat's functions: pip install gsplat==1.5.3")
    path = Path(package.origin).parent / "cuda" / "_torch_impl.py"
    if not path.is_file():
        raise ImportError(f"{path} is absent: this gsplat is not 1.5.3. pip install gsplat==1.5.3")
    spec = importlib.util.spec_from_file_location("nvs.rasterizer._gsplat_torch_impl", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Gaussians on one image, those that can be seen, nearest first."""

    index: Int[Tensor, " n"]  # into the scene's Gaussians
    means: Float[Tensor, "n 2"]  # pixels
    conics: Float[Tensor, "n 3"]  # inverse covariance: xx, xy, yy
    radii: Float[Tensor, "n 2"]  # half sides, pixels, of a box outside which alpha < ALPHA_MIN
    opacities: Float[Tensor, " n"]  # with the antialiasing factor, if any
    features: Float[Tensor, "n 4"]  # red, green, blue, depth


def render(
    gaussians: Gaussians, colors: Float[Tensor, "B N 3"] | None, cameras: Cameras, settings: Settings
) -> tuple[Float[Tensor, "B V 3 H W"], Float[Tensor, "B V H W"], Float[Tensor, "B V H W"]]:
    """Colour over black, accumulated depth, alpha."""
    B, V = cameras.extrinsics.shape[:2]
    images = []
    for b in range(B):
        scene = gaussians.map(lambda t, b=b: t[b : b + 1])  # type: ignore[misc]
        for v in range(V):
            camera = cameras.extrinsics[b, v], cameras.intrinsics[b, v]
            projected = project(scene, None if colors is None else colors[b], *camera, settings)
            pixels, entries = touched_pixels(projected, settings)
            images.append(composite(projected, pixels, entries, settings))
    image = torch.stack(images).unflatten(0, (B, V))  # [B, V, 5, H, W]
    return image[:, :, :3], image[:, :, 3], image[:, :, 4]


def project(
    scene: Gaussians,
    colors: Float[Tensor, "N 3"] | None,
    extrinsics: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    settings: Settings,
) -> Projected:
    """Project one scene (a batch of one) into one camera.

    The visible Gaussians are found first without gradients, and only they are projected with gradients:
    a mean in the camera plane has an infinite derivative, which times a zero weight would be NaN.
    """
    with torch.no_grad():
        finite = torch.stack(
            [t[0].flatten(1).isfinite().all(-1) for t in (scene.means, scene.quats, scene.scales, scene.sh)]
        ).all(0)
        finite &= scene.opacities[0].isfinite()
        if colors is not None:
            finite &= colors.isfinite().all(-1)
        depth = scene.means[0] @ extrinsics[2, :3] + extrinsics[2, 3]
        kept = finite & (depth >= settings.near) & (depth <= settings.far)
        index = kept.nonzero()[:, 0]
        first = _project_visible(scene, colors, extrinsics, intrinsics, settings, index)
        seen = (first.radii > 0).all(-1) & (first.opacities >= ALPHA_MIN)
        for t in (first.means, first.conics, first.radii, first.features):
            seen &= t.isfinite().all(-1)
        index = index[seen]
        index = index[first.features[seen, 3].sort(stable=True).indices]
    return _project_visible(scene, colors, extrinsics, intrinsics, settings, index)


def _project_visible(
    scene: Gaussians,
    colors: Tensor | None,
    extrinsics: Tensor,
    intrinsics: Tensor,
    settings: Settings,
    index: Tensor,
) -> Projected:
    gsplat, (H, W) = gsplat_functions(), settings.image_size
    means = scene.means[0, index]
    covariances, _ = gsplat._quat_scale_to_covar_preci(
        scene.quats[0, index], scene.scales[0, index], compute_preci=False
    )
    # gsplat's kernels know no skew; its PyTorch projection would use it.
    focal, principal = intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2]
    radii, means2d, depths, conics, compensations = gsplat._fully_fused_projection(
        means,
        covariances,
        extrinsics[None],
        intrinsics_matrix(focal, principal)[None],
        W,
        H,
        eps2d=settings.eps2d,
        near_plane=-torch.inf,
        far_plane=torch.inf,
        calc_compensations=settings.antialiased,
    )
    opacities = scene.opacities[0, index]
    if settings.antialiased:
        opacities = opacities * compensations[0]
    if colors is None:
        centre = torch.inverse(extrinsics)[:3, 3]
        rgb = gsplat._spherical_harmonics(scene.sh_degree, means - centre, scene.sh[0, index])
        rgb = (rgb + 0.5).clamp(min=0.0)
    else:
        rgb = colors[index]
    return Projected(
        index=index,
        means=means2d[0],
        conics=conics[0],
        radii=radii[0].to(means),
        opacities=opacities,
        features=torch.cat((rgb, depths[0, :, None]), dim=-1),
    )


def falloff(
    projected: Projected, entries: Int[Tensor, "*#m"], x: Float[Tensor, "*#m"], y: Float[Tensor, "*#m"]
) -> Float[Tensor, "..."]:
    """Exponent of Gaussians at pixels (x, y): alpha is opacity times exp(-exponent)."""
    dx, dy = x - projected.means[entries, 0], y - projected.means[entries, 1]
    a, b, c = projected.conics[entries].unbind(-1)
    return 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy


@torch.no_grad()
def touched_pixels(
    projected: Projected, settings: Settings, *, tile: int = 8, at_once: int = 512
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """All contributing (pixel, entry) pairs, sorted by pixel and within a pixel nearest first.

    A pair contributes where alpha reaches ALPHA_MIN and the transmittance behind it exceeds
    TRANSMITTANCE_MIN. The search only saves work: the result does not depend on how it is done.

    Args:
        tile: side of the squares of pixels in which pairs are sought.
        at_once: Gaussians tried together in such a square, before testing whether it is opaque.
    """
    H, W = settings.image_size
    device, dtype = projected.means.device, projected.means.dtype
    low, high = projected.means - projected.radii, projected.means + projected.radii
    pixels, entries = [], []
    for top in range(0, H, tile):
        row = ((low[:, 1] < top + tile) & (high[:, 1] > top)).nonzero()[:, 0]
        for left in range(0, W, tile):
            near = row[(low[row, 0] < left + tile) & (high[row, 0] > left)]
            y, x = torch.meshgrid(
                torch.arange(top, min(top + tile, H), device=device),
                torch.arange(left, min(left + tile, W), device=device),
                indexing="ij",
            )
            pixel, (x, y) = (y * W + x).flatten(), (t.reshape(-1, 1).to(dtype) + 0.5 for t in (x, y))
            light = torch.ones_like(x)  # [pixels, 1]
            for some in near.split(at_once):
                exponent = falloff(projected, some[None], x, y)  # [pixels, entries]
                alpha = (projected.opacities[some] * torch.exp(-exponent)).clamp(max=ALPHA_MAX)
                counts = (exponent >= 0) & (alpha >= ALPHA_MIN)
                left_over = light * (1 - alpha * counts).cumprod(dim=1)
                p, e = (counts & (left_over > TRANSMITTANCE_MIN)).nonzero().unbind(-1)
                pixels.append(pixel[p])
                entries.append(some[e])
                light = left_over[:, -1:]
                if not (light > TRANSMITTANCE_MIN).any():
                    break
    pixels, entries = torch.cat(pixels), torch.cat(entries)
    order = pixels.sort(stable=True).indices
    return pixels[order], entries[order]


def composite(
    projected: Projected, pixels: Int[Tensor, " m"], entries: Int[Tensor, " m"], settings: Settings
) -> Float[Tensor, "5 H W"]:
    """Red, green, blue, accumulated depth and alpha from the contributing pairs."""
    H, W = settings.image_size
    x, y = (pixels % W).to(projected.means) + 0.5, (pixels // W).to(projected.means) + 0.5
    exponent = falloff(projected, entries, x, y)
    alpha = (projected.opacities[entries] * torch.exp(-exponent)).clamp(max=ALPHA_MAX)

    # Transmittance up to each pair: the product of (1 - alpha) before it in its pixel. As a running sum of
    # logarithms over all pixels, less the sum before the pixel's first pair; float64 keeps it exact.
    logs = torch.log1p(-alpha.double())
    before = logs.cumsum(0) - logs
    counts = torch.bincount(pixels, minlength=H * W)
    first = (counts.cumsum(0) - counts)[pixels]
    weight = alpha * torch.exp(before - before[first]).to(alpha)

    features = torch.cat((projected.features, torch.ones_like(projected.features[:, :1])), dim=-1)
    image = features.new_zeros(H * W, 5).index_add(0, pixels, weight[:, None] * features[entries])
    return image.mT.reshape(5, H, W)

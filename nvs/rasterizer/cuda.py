"""The CUDA backend: gsplat's own kernels.

gsplat is imported here and nowhere else, on the first rendering of CUDA tensors: its import (1.6) or its
first use (1.5.3) starts a compiler. Written against the sources of gsplat 1.5.3.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer import twin
from nvs.rasterizer.settings import Settings

TILE = 16
LARGEST_SCALE = 1e5  # scene units; near the camera gsplat's gradients overflow float32 from about 5e5 on


class NoKernels(InputError):
    """gsplat's CUDA kernels cannot be loaded on this machine; the message says what to do."""


def import_gsplat() -> ModuleType:
    """gsplat with its kernels loaded, which compiles them on a machine's first use (minutes)."""
    loaded = _load()
    if isinstance(loaded, str):
        raise NoKernels(
            f"gsplat's CUDA kernels cannot be loaded ({loaded}). They are compiled on first use, which needs "
            f"the CUDA toolkit of torch's version ({torch.version.cuda}): nvcc on PATH or under CUDA_HOME. "
            "README.md says how pip brings it. Until then backends 'auto' and 'cpu' render on the CPU"
        )
    return loaded


@cache
def _load() -> ModuleType | str:
    """gsplat, or why its kernels cannot be loaded; a compilation that failed is not tried again."""
    try:
        # gsplat reports on standard output, where our commands print nothing but their result.
        with _ninja_on_path(), _one_process_at_a_time(), redirect_stdout(sys.stderr):
            import gsplat
            from gsplat.cuda._backend import _C as kernels
    except Exception as error:  # a failed compilation raises OSError, RuntimeError, CalledProcessError, ...
        first = next(iter(str(error).splitlines()), "")[:200]  # the compiler's whole output may follow
        return f"{type(error).__name__}: {first}; the environment variable VERBOSE=1 shows all"
    return gsplat if kernels is not None else "gsplat found no nvcc to compile them with"


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """torch calls ninja by name, and the folder of a virtual environment need not be on PATH."""
    import ninja

    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{before}{os.pathsep}{ninja.BIN_DIR}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """gsplat deletes a build that is not finished, also if another process is still building it."""
    from torch.utils.cpp_extension import get_default_build_root

    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    file = None
    with suppress(OSError):  # where nothing can be written nothing is compiled either
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "gsplat.lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            file.close()  # which unlocks


def render(
    gaussians: Gaussians, colors: Float[Tensor, "B N 3"] | None, cameras: Cameras, settings: Settings
) -> tuple[Float[Tensor, "B V 3 H W"], Float[Tensor, "B V H W"], Float[Tensor, "B V H W"]]:
    """Colour over black, accumulated depth, alpha."""
    gsplat = import_gsplat()
    if gaussians.means.numel() == 0 or cameras.extrinsics.numel() == 0:
        return _nothing(gaussians, colors, cameras, settings)
    # gsplat saves cameras for its backward pass, which tensors of an inference mode do not allow.
    cameras = cameras.map(lambda t: t.clone() if t.is_inference() else t)
    if cameras.intrinsics.requires_grad:
        image, alpha = _render_projected_in_torch(gsplat, gaussians, colors, cameras, settings)
    else:
        image, alpha = _render(gsplat, gaussians, colors, cameras, settings)
    return image[..., :3].movedim(-1, -3), image[..., 3], alpha[..., 0]


def _render(
    gsplat: Any, gaussians: Gaussians, colors: Tensor | None, cameras: Cameras, settings: Settings
) -> tuple[Float[Tensor, "B V H W 4"], Float[Tensor, "B V H W 1"]]:
    H, W = settings.image_size
    gaussians, colors = _drawable(gaussians, colors)
    features = gaussians.sh if colors is None else colors
    scenes = []
    # One call a scene: gsplat 1.5.3's backward adds gradients of neighbouring scenes together.
    for b in range(len(features)):
        one = slice(b, b + 1)
        image, alpha, _ = gsplat.rasterization(
            gaussians.means[one],
            gaussians.quats[one],
            gaussians.scales[one],
            gaussians.opacities[one],
            features[one],
            cameras.extrinsics[one],
            cameras.intrinsics[one],
            W,
            H,
            near_plane=settings.near,
            far_plane=settings.far,
            eps2d=settings.eps2d,
            sh_degree=gaussians.sh_degree if colors is None else None,
            packed=False,
            tile_size=TILE,
            render_mode="RGB+D",
            rasterize_mode="antialiased" if settings.antialiased else "classic",
        )
        scenes.append((image, alpha))
    image, alpha = (torch.cat(parts) for parts in zip(*scenes))
    return image, alpha


def _drawable(gaussians: Gaussians, colors: Tensor | None) -> tuple[Gaussians, Tensor | None]:
    """Gaussians that are not finite, or huge, made invisible points; zero quaternions made the identity.

    In gsplat's kernels ``min(0.999, NaN)`` is 0.999: one such Gaussian would be drawn, and opaque. Nothing
    here waits for the device.
    """
    fields = [*vars(gaussians).values(), *([] if colors is None else [colors])]
    good = gaussians.scales.amax(-1) < LARGEST_SCALE  # [B, N]
    for t in fields:
        good = good & t.reshape(*good.shape, -1).isfinite().all(-1)

    def kept(t: Tensor) -> Tensor:
        return torch.where(good.reshape(*good.shape, *[1] * (t.ndim - 2)), t, 0.0)

    gaussians = gaussians.map(kept)
    identity = gaussians.quats.new_tensor([1.0, 0.0, 0.0, 0.0])
    turned = (gaussians.quats != 0).any(-1, keepdim=True)
    gaussians = replace(gaussians, quats=torch.where(turned, gaussians.quats, identity))
    return gaussians, None if colors is None else kept(colors)


def _render_projected_in_torch(
    gsplat: Any, gaussians: Gaussians, colors: Tensor | None, cameras: Cameras, settings: Settings
) -> tuple[Float[Tensor, "B V H W 4"], Float[Tensor, "B V H W 1"]]:
    """As `_render`, with gradients of the intrinsics, which gsplat's projection kernel does not give.

    Projection is the twin's, compositing gsplat's kernels.
    """
    H, W = settings.image_size
    tiles_x, tiles_y = -(-W // TILE), -(-H // TILE)
    B, V = cameras.extrinsics.shape[:2]
    images, alphas = [], []
    for b in range(B):
        scene = gaussians.map(lambda t, b=b: t[b : b + 1])  # type: ignore[misc]
        for v in range(V):
            seen = twin.project(
                scene,
                None if colors is None else colors[b],
                cameras.extrinsics[b, v],
                cameras.intrinsics[b, v],
                settings,
            )
            if seen.index.numel() == 0:
                # Zero, not missing, gradients for all that went in.
                zero = sum(t.sum() for t in (seen.features, seen.opacities, seen.means, seen.conics))
                images.append(zero + gaussians.means.new_zeros(H, W, 4))
                alphas.append(zero + gaussians.means.new_zeros(H, W, 1))
                continue
            _, keys, order = gsplat.isect_tiles(
                seen.means[None], seen.radii[None].int(), seen.features[None, :, 3], TILE, tiles_x, tiles_y
            )
            offsets = gsplat.isect_offset_encode(keys, 1, tiles_x, tiles_y)
            image, alpha = gsplat.rasterize_to_pixels(
                seen.means[None],
                seen.conics[None],
                seen.features[None],
                seen.opacities[None],
                W,
                H,
                TILE,
                offsets.reshape(1, tiles_y, tiles_x),
                order,
            )
            images.append(image[0])
            alphas.append(alpha[0])
    return torch.stack(images).unflatten(0, (B, V)), torch.stack(alphas).unflatten(0, (B, V))


def _nothing(
    gaussians: Gaussians, colors: Tensor | None, cameras: Cameras, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Black, empty images that still carry (zero) gradients: kernels cannot be launched on no Gaussians."""
    tensors = [*vars(gaussians).values(), *vars(cameras).values()]
    if colors is not None:
        tensors.append(colors)
    zero = sum((t * 0).sum() for t in tensors)
    views = tuple(cameras.extrinsics.shape[:2])
    rgb, plane = (zero.expand(*views, *shape, *settings.image_size) for shape in ((3,), ()))
    return rgb, plane, plane

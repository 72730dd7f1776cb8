"""The kernels as a differentiable torch function."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.binning import chunk_shift
from nvs.rasterizer.cpu.view import (
    Binned,
    Scene,
    blend_view,
    blend_view_backward,
    gather_view,
    project_view,
    project_view_backward,
)
from nvs.rasterizer.cpu.workspace import workspace
from nvs.rasterizer.settings import Settings

LARGEST_SIDE = 32767  # pixel ranges are packed in 16 bits
MOST_GAUSSIANS = 1 << 31  # an entry keeps the index in 32 bits


def render(
    gaussians: Gaussians, colors: Float[Tensor, "B N 3"] | None, cameras: Cameras, settings: Settings
) -> tuple[Float[Tensor, "B V 3 H W"], Float[Tensor, "B V H W"], Float[Tensor, "B V H W"]]:
    """Colour over black, accumulated depth, alpha."""
    H, W = settings.image_size
    if max(H, W) > LARGEST_SIDE:
        raise InputError(f"the CPU rasterizer draws at most {LARGEST_SIDE} pixels a side, got {H} x {W}")
    if gaussians.means.shape[1] >= MOST_GAUSSIANS:
        raise InputError(f"the CPU rasterizer takes fewer than {MOST_GAUSSIANS} Gaussians a scene")
    # As gsplat does: the centre is the last column of the inverse, so the extrinsics' gradient through the
    # viewing directions is that of a general 4 x 4 matrix.
    centres = torch.inverse(cameras.extrinsics)[..., :3, 3]
    g, degree = gaussians, gaussians.sh_degree if colors is None else -1
    fields = g.means, g.quats, g.scales, g.opacities, g.sh if colors is None else colors
    return _Rasterize.apply(degree, settings, *fields, cameras.extrinsics, cameras.intrinsics, centres)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, degree: int, settings: Settings, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *fields, extrinsics, intrinsics, centres = tensors
        (B, V), (H, W) = extrinsics.shape[:2], settings.image_size
        inputs = [t.detach().contiguous() for t in fields]
        packed = pack_cameras(extrinsics, intrinsics, centres)
        rgb, depth, alpha = (
            torch.from_numpy(workspace.take(shape)) for shape in ((B, V, 3, H, W), (B, V, H, W), (B, V, H, W))
        )
        ctx.degree, ctx.settings = degree, settings
        differentiable = any(ctx.needs_input_grad)
        views: list[Tensor] = []
        for b in range(B):
            scene = _scene(inputs, b, degree)
            for v in range(V):
                binned, entries = project_view(scene, packed[b, v], settings)
                planes = [t[b, v].numpy() for t in (rgb, depth, alpha)]
                blend_view(binned, entries, settings, *planes)
                if differentiable:
                    views += [torch.from_numpy(a) for a in vars(binned).values()]
        # Autograd frees what is saved as soon as it can, and the workspace gets its buffers back.
        ctx.save_for_backward(*inputs, torch.from_numpy(packed), rgb, depth, alpha, *views)
        return rgb, depth, alpha

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *image_gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        inputs, (packed, *image), views = saved[:5], saved[5:9], saved[9:]
        B, V = packed.shape[:2]
        given = [t.contiguous() for t in image_gradients]
        if ctx.degree < 0 and ctx.needs_input_grad[2:] == (*4 * [False], True, *3 * [False]):
            return *6 * [None], _of_colors(ctx.settings, inputs[4], given[0], views), *3 * [None]
        gradients = [torch.from_numpy(workspace.take(tuple(t.shape))) for t in inputs]
        camera_gradients = torch.zeros(packed.shape, dtype=torch.float64)
        for b in range(B):
            scene = _scene(inputs, b, ctx.degree)
            outputs = [t[b].view(-1).numpy() for t in gradients]
            if V == 0:
                for output in outputs:
                    output.fill(0)
            for v in range(V):
                binned = _binned(views, b * V + v)
                planes = ([t[b, v].numpy() for t in tensors] for tensors in (image, given))
                shift = chunk_shift(scene.count)
                sums = blend_view_backward(binned, ctx.settings, shift, *planes)
                of_camera = project_view_backward(
                    scene, packed[b, v].numpy(), binned, ctx.settings, *sums, outputs, fresh=v == 0
                )
                camera_gradients[b, v] = torch.from_numpy(of_camera)
        return None, None, *gradients, *_unpack_cameras(camera_gradients.to(torch.float32))


def _of_colors(
    settings: Settings, colors: Tensor, given: Float[Tensor, "B V 3 H W"], views: Sequence[Tensor]
) -> Float[Tensor, "B N 3"]:
    """The colours' gradient, where nothing else's is asked for: a fraction of the work."""
    gradient = torch.zeros_like(colors)  # of no view it is none
    for b in range(given.shape[0]):
        for v in range(given.shape[1]):
            binned, output = _binned(views, b * given.shape[1] + v), gradient[b].view(-1).numpy()
            gather_view(binned, settings, given[b, v].numpy(), output, fresh=v == 0)
    return gradient


def _binned(views: Sequence[Tensor], view: int) -> Binned:
    per_view = len(Binned.__dataclass_fields__)
    return Binned(*(t.numpy() for t in views[per_view * view : per_view * (view + 1)]))


def _scene(inputs: Sequence[Tensor], b: int, degree: int) -> Scene:
    return Scene(*(t[b].reshape(-1).numpy() for t in inputs), degree=degree)  # type: ignore[arg-type, misc]


def pack_cameras(extrinsics: Tensor, intrinsics: Tensor, centres: Tensor) -> np.ndarray:
    """[B, V, CAMERA]; see `nvs.rasterizer.cpu.layout`."""
    rotation, translation = extrinsics[..., :3, :3].flatten(-2), extrinsics[..., :3, 3]
    focal, principal = intrinsics[..., [0, 1], [0, 1]], intrinsics[..., :2, 2]
    parts = (rotation, translation, focal, principal, centres)
    return torch.cat([t.detach() for t in parts], dim=-1).contiguous().numpy()


def _unpack_cameras(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of extrinsics, intrinsics and centres from that of `pack_cameras`' result."""
    extrinsics = packed.new_zeros(*packed.shape[:-1], 4, 4)
    extrinsics[..., :3, :3] = packed[..., :9].unflatten(-1, (3, 3))
    extrinsics[..., :3, 3] = packed[..., 9:12]
    intrinsics = packed.new_zeros(*packed.shape[:-1], 3, 3)
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = packed[..., L.FX], packed[..., L.FY]
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = packed[..., L.CX], packed[..., L.CY]
    return extrinsics, intrinsics, packed[..., L.CENTRE :]

"""Which rasterizer serves which tensors."""

import warnings
from functools import cache

import torch

from geometry.errors import InputError
from nvs.options import BACKENDS


def choose_backend(wanted: str, device: torch.device) -> str:
    """Name of the backend that serves tensors on this device, or an `InputError` that says why none can.

    Commands call it before any work, so that a machine that cannot render says so at once. On CUDA it loads
    gsplat's kernels; without them "auto" warns once and takes the CPU's.
    """
    if wanted not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {wanted!r}")
    if wanted == "cuda" and device.type != "cuda":
        raise InputError(f"backend 'cuda' needs tensors on cuda, got {device}: move them with .to()")
    if wanted in ("cpu", "torch"):
        return wanted
    if device.type != "cuda":
        return "cpu" if device.type == "cpu" else "torch"
    from nvs.rasterizer.cuda import NoKernels, import_gsplat

    try:
        import_gsplat()
    except NoKernels as error:
        if wanted == "cuda":
            raise
        _warn_once(f"rendering on the CPU, the rest on the GPU: {error}")
        return "cpu"
    return "cuda"


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)

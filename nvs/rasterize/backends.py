"""Which rasterizer serves which tensors."""

import torch

from geometry.errors import InputError

BACKENDS = ("auto", "cuda", "cpu", "torch")


def choose_backend(wanted: str, device: torch.device) -> str:
    """Name of the backend: the one asked for if it can serve tensors on this device, else by device.

    Raises:
        InputError: the name is unknown, or that backend cannot work on tensors of this device.
    """
    if wanted not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {wanted!r}")
    if wanted == "auto":
        return {"cuda": "cuda", "cpu": "cpu"}.get(device.type, "torch")
    if wanted in ("cuda", "cpu") and device.type != wanted:
        raise InputError(f"backend {wanted!r} needs tensors on {wanted}, got {device}: move them with .to()")
    return wanted

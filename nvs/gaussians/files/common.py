"""What the formats share: which Gaussians are written, in chunks, and quantised bytes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from nvs.gaussians.record import Gaussians

_CHUNK = 1 << 16  # Gaussians converted at a time
LEAST_OPACITY = 1e-6  # keeps the logit finite: +-13.8


def drawable(gaussians: Gaussians) -> Gaussians:
    """On the CPU, one scene, and only what has finite numbers, positive scales and a rotation."""
    if len(gaussians.means) != 1:
        raise ValueError(f"a file holds one scene: expected batch size 1, got {len(gaussians.means)}")
    g = gaussians.detach().to("cpu")
    good = (g.scales > 0).all(-1) & (g.quats.norm(dim=-1) > 1e-12)
    for field in (g.means, g.quats, g.scales, g.opacities[..., None], g.sh.flatten(2)):
        good &= field.isfinite().all(-1)
    return g if bool(good.all()) else g[:, good[0]]


def parts(gaussians: Gaussians) -> Iterator[Gaussians]:
    """Consecutive pieces, so that what is converted at a time stays small."""
    for start in range(0, gaussians.means.shape[1], _CHUNK):
        yield gaussians[:, start : start + _CHUNK]


def read_bytes(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of Gaussians, found no such file") from None


def quantised(values: Tensor) -> np.ndarray:
    """Rounded to bytes."""
    return values.round().clamp(0, 255).to(torch.uint8).numpy()


def floats(data: np.ndarray) -> Float[Tensor, "1 N c"]:
    """Bytes [N, c] as numbers, with the batch axis."""
    return torch.from_numpy(data.astype(np.float32))[None]

"""antimatter15's .splat for web viewers: 32 bytes a Gaussian, one colour each."""

from pathlib import Path

import numpy as np
import torch

from geometry.atomic import atomic_file
from geometry.errors import InputError
from nvs.gaussians.files.common import LEAST_OPACITY, drawable, parts, quantised, read_bytes
from nvs.gaussians.record import Gaussians, rgb_to_sh, sh_to_rgb

_SPLAT = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write antimatter15's .splat: 32 bytes each, largest first so that a viewer shows most while loading.

    View-dependent colour is lost: the format has room for one colour.
    """
    g = drawable(gaussians)
    weight = g.scales[0].log().sum(-1) + g.opacities[0].clamp(min=LEAST_OPACITY).log()
    g = g[:, weight.argsort(descending=True)]
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for part in parts(g):
            rows = np.empty(part.means.shape[1], _SPLAT)
            rows["mean"], rows["scale"] = part.means[0], part.scales[0]
            rgba = torch.cat((sh_to_rgb(part.sh[0, :, 0]), part.opacities[0, :, None]), dim=-1)
            rows["rgba"] = quantised(rgba * 255)
            rows["quat"] = quantised(torch.nn.functional.normalize(part.quats[0], dim=-1) * 128 + 128)
            file.write(rows.tobytes())
    return g.means.shape[1]


def read(path: Path | str) -> Gaussians:
    """Read .splat; SH of degree 0.

    Raises:
        InputError: no such file, or its size is not a multiple of 32 bytes.
    """
    data = read_bytes(path)
    if len(data) % _SPLAT.itemsize:
        raise InputError(f"{path}: expected a multiple of {_SPLAT.itemsize} bytes, got {len(data)}")
    rows = np.frombuffer(data, _SPLAT)
    rgba = torch.from_numpy(rows["rgba"].astype(np.float32))[None] / 255
    quats = (torch.from_numpy(rows["quat"].astype(np.float32))[None] - 128) / 128
    return Gaussians(
        means=torch.from_numpy(rows["mean"].astype(np.float32))[None],
        quats=quats,
        scales=torch.from_numpy(rows["scale"].astype(np.float32))[None],
        opacities=rgba[..., 3],
        sh=rgb_to_sh(rgba[..., None, :3]),
    )

"""The PLY of the 3DGS authors: every number in full."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.formats.ply import read_vertices, require, write_vertices
from nvs.gaussians.files.common import LEAST_OPACITY, drawable, parts
from nvs.gaussians.record import Gaussians


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write the layout of the 3DGS authors: logit opacity, log scales, quaternion wxyz, SH channel-major.

    All SH degrees are kept. Opacities are clamped just inside 0..1, so that every number is finite.

    Source: Kerbl et al. 2023, their published PLY files.
    """
    g = drawable(gaussians)
    rest = g.sh.shape[-2] - 1
    names = [*"xyz", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(3 * rest)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    dtype = np.dtype([(name, "<f4") for name in names])

    def chunks() -> Iterator[np.ndarray]:
        for part in parts(g):
            columns = (
                part.means[0],
                torch.zeros_like(part.means[0]),  # normals, which no viewer uses
                part.sh[0, :, 0],
                part.sh[0, :, 1:].mT.flatten(1),  # all of red, then green, then blue
                part.opacities[0, :, None].clamp(LEAST_OPACITY, 1 - LEAST_OPACITY).logit(),
                part.scales[0].log(),
                torch.nn.functional.normalize(part.quats[0], dim=-1),
            )
            rows = (
                torch.cat([c.float() for c in columns], dim=-1).contiguous().numpy().astype("<f4", copy=False)
            )
            yield rows.view(dtype)[:, 0]

    count = g.means.shape[1]
    write_vertices(path, dtype, count, chunks())
    return count


def read(path: Path | str) -> Gaussians:
    """Read what `write` and the 3DGS authors' code write.

    Raises:
        InputError: not such a file, or a number of SH coefficients that is no degree's.
    """
    vertices = read_vertices(path)
    rest = [n for n in vertices.dtype.names or () if n.startswith("f_rest_")]
    if len(rest) not in (0, 9, 24, 45):
        raise InputError(f"{path}: expected 0, 9, 24 or 45 properties f_rest, got {len(rest)}")

    def columns(*names: str) -> Tensor:
        require(vertices, names, path)
        out = np.empty((len(vertices), len(names)), np.float32)
        for k, name in enumerate(names):
            out[:, k] = vertices[name]
        return torch.from_numpy(out)[None]

    sh = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, :, None]
    if rest:
        higher = columns(*(f"f_rest_{i}" for i in range(len(rest))))
        sh = torch.cat((sh, higher.unflatten(-1, (3, -1)).mT), dim=-2)
    return Gaussians(
        means=columns("x", "y", "z"),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        opacities=columns("opacity")[..., 0].sigmoid(),
        sh=sh,
    )

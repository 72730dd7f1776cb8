"""The PLY of the 3DGS authors: every number in full."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.formats.ply import read_elements, require, write_elements
from nvs.gaussians.files import compressed_ply
from nvs.gaussians.files.common import antialiased_by, drawable, logits, parts, ply_comments
from nvs.gaussians.record import Gaussians, rgb_to_sh

_FLAT = 1e-3  # thickness of a 2D Gaussian, of its shorter axis


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write the layout of the 3DGS authors: logit opacity, log scales, quaternion wxyz, SH channel-major.

    All SH degrees are kept. Opacities are clamped just inside 0..1, so that every number is finite. Comments
    state the antialiasing mode and the colour space.

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
                logits(part.opacities[0, :, None]),
                part.scales[0].log(),
                torch.nn.functional.normalize(part.quats[0], dim=-1),
            )
            rows = (
                torch.cat([c.float() for c in columns], dim=-1).contiguous().numpy().astype("<f4", copy=False)
            )
            yield rows.view(dtype)[:, 0]

    count = g.means.shape[1]
    write_elements(path, [("vertex", dtype, count, chunks())], comments=ply_comments(g))
    return count


def read(path: Path | str) -> Gaussians:
    """Read what `write` and the 3DGS authors' code write, and its relatives.

    Colours may be red, green, blue instead of SH. 2D Gaussians (two scales) become flat 3D ones. A compressed
    PLY is read as `compressed_ply.read` does.

    Raises:
        InputError: not such a file (a point cloud), or a number of SH coefficients that is no degree's.
    """
    elements, comments = read_elements(path)
    if "chunk" in elements:
        return compressed_ply.unpack(elements, comments, path)
    vertices = elements["vertex"]
    names = vertices.dtype.names or ()
    if "x" in names and not {"scale_0", "rot_0", "opacity"} & set(names):
        raise InputError(f"{path}: expected Gaussians (opacity, scale_0, rot_0, ...), found a point cloud")
    rest = [n for n in names if n.startswith("f_rest_")]
    if len(rest) not in (0, 9, 24, 45):
        raise InputError(f"{path}: expected 0, 9, 24 or 45 properties f_rest, got {len(rest)}")

    def columns(*names: str) -> Tensor:
        require(vertices, names, path)
        out = np.empty((len(vertices), len(names)), np.float32)
        for k, name in enumerate(names):
            out[:, k] = vertices[name]
        return torch.from_numpy(out)[None]

    if "f_dc_0" not in names and "red" in names:
        rgb = columns("red", "green", "blue")
        sh = rgb_to_sh(rgb / 255 if vertices.dtype["red"].kind == "u" else rgb)[:, :, None]
    else:
        sh = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, :, None]
    if rest:
        higher = columns(*(f"f_rest_{i}" for i in range(len(rest))))
        sh = torch.cat((sh, higher.unflatten(-1, (3, -1)).mT), dim=-2)
    if "scale_2" in names:
        scales = columns("scale_0", "scale_1", "scale_2").exp()
    else:
        flat = columns("scale_0", "scale_1").exp()
        scales = torch.cat((flat, _FLAT * flat.amin(dim=-1, keepdim=True)), dim=-1)
    return Gaussians(
        means=columns("x", "y", "z"),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        scales=scales,
        opacities=columns("opacity")[..., 0].sigmoid(),
        sh=sh,
    ).marked(antialiased_by(comments))

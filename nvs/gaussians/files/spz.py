"""Niantic's .spz: quantised and compressed, about a tenth of the PLY.

A gzip stream of a 16-byte header, then every attribute of all Gaussians in turn: positions (24-bit fixed
point), opacities, colours, log scales (a byte each), rotations, SH (a byte each).

Source: github.com/nianticlabs/spz (file format).
"""

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.atomic import atomic_file
from geometry.errors import InputError
from nvs.gaussians.files.common import drawable, floats, parts, quantised, read_bytes
from nvs.gaussians.record import Gaussians
from nvs.gaussians.transform import turn_gaussians

_HEADER = struct.Struct("<IIIBBBB")
_MAGIC = 0x5053474E  # NGSP
_EXTENSIONS = 0x2  # flag: records of other vendors follow the header
_COLOUR = 0.15  # bytes hold 0.5 + 0.15 * coefficient: room for colours that SH bring back into range
_FINEST = 16  # fractional bits of positions at most; more would only cost compression
_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # our axes, y down, to the format's, y up


def write(
    path: Path | str,
    gaussians: Gaussians,
    *,
    version: Literal[2, 3] = 3,
    world: Literal["y_down", "y_up"] = "y_down",
) -> int:
    """Write Niantic's .spz, about a tenth of the PLY; all SH degrees are kept, to 1/128.

    Positions get as many fractional bits as the farthest Gaussian leaves, at most 16.

    Args:
        version: 3 stores rotations to 10 bits a component; 2 to 8 bits, for older viewers.
        world: axes of the Gaussians' world. The format's own are y up, so y_down is turned half around x.

    Raises:
        InputError: a Gaussian lies beyond 8 million units.
    """
    g = drawable(gaussians)
    if world == "y_down":
        g = turn_gaussians(g, _FLIP.to(g.means)[None])
    count = g.means.shape[1]
    farthest = float(g.means.abs().max()) if count else 0.0
    bits = next((b for b in range(_FINEST, -1, -1) if round(farthest * 2**b) < 2**23), None)
    if bits is None:
        raise InputError(
            f"{path}: expected Gaussians within 8388607 units for .spz, got one at {farthest:.3g}"
        )
    header = _HEADER.pack(_MAGIC, version, count, g.sh_degree, bits, 0, 0)
    attributes: list[Callable[[Gaussians], np.ndarray]] = [
        lambda p: _fixed_point(p.means[0], bits),
        lambda p: quantised(p.opacities[0] * 255),
        lambda p: quantised((p.sh[0, :, 0] * _COLOUR + 0.5) * 255),
        lambda p: quantised((p.scales[0].log() + 10) * 16),
        lambda p: (_smallest_three if version == 3 else _first_three)(p.quats[0]),
        lambda p: quantised(p.sh[0, :, 1:] * 128 + 128),
    ]
    with atomic_file(path) as temporary, gzip.open(temporary, "wb", compresslevel=6) as file:
        file.write(header)
        for attribute in attributes:
            for part in parts(g):
                file.write(np.ascontiguousarray(attribute(part)).tobytes())
    return count


def read(path: Path | str, *, world: Literal["y_down", "y_up"] = "y_down") -> Gaussians:
    """Read .spz of versions 2 and 3.

    Args:
        world: axes wanted; y_down undoes the turn of `write`.

    Raises:
        InputError: not such a file, another version, or cut short.
    """
    data = read_bytes(path)
    try:
        data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected an .spz file (gzip), could not unpack it ({error})") from None
    if len(data) < _HEADER.size:
        raise InputError(f"{path}: expected an .spz header of {_HEADER.size} bytes, got {len(data)}")
    magic, version, count, degree, bits, flags, _ = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise InputError(f"{path}: expected an .spz file, got other first bytes")
    if version not in (2, 3) or degree > 3 or flags & _EXTENSIONS:
        raise InputError(
            f"{path}: expected .spz version 2 or 3, SH degree 0 to 3, no extensions, got version {version}, "
            f"degree {degree}, flags {flags:#x}"
        )
    rest = (degree + 1) ** 2 - 1
    widths = (9, 1, 3, 3, 4 if version == 3 else 3, 3 * rest)
    if len(data) < _HEADER.size + count * sum(widths):
        raise InputError(f"{path}: expected {count} Gaussians, the file is too short for them")
    fields, start = [], _HEADER.size
    for width in widths:
        fields.append(np.frombuffer(data, np.uint8, count * width, start).reshape(count, width))
        start += count * width
    position, opacity, colour, scale, rotation, sh = fields
    sh = torch.cat(
        (
            ((floats(colour) / 255 - 0.5) / _COLOUR)[..., None, :],
            ((floats(sh) - 128) / 128).reshape(1, count, rest, 3),
        ),
        dim=-2,
    )
    gaussians = Gaussians(
        means=_from_fixed_point(position, bits),
        quats=(_from_smallest_three if version == 3 else _from_first_three)(rotation),
        scales=(floats(scale) / 16 - 10).exp(),
        opacities=floats(opacity)[..., 0] / 255,
        sh=sh,
    )
    return turn_gaussians(gaussians, _FLIP[None]) if world == "y_down" else gaussians


def _fixed_point(values: Float[Tensor, "N 3"], bits: int) -> np.ndarray:
    """Signed 24-bit integers, little-endian: the lower three bytes of 32-bit ones."""
    fixed = (values.double() * 2**bits).round().to(torch.int32).numpy().astype("<i4", copy=False)
    return np.ascontiguousarray(fixed).view(np.uint8).reshape(len(fixed), 3, 4)[..., :3]


def _from_fixed_point(data: np.ndarray, bits: int) -> Float[Tensor, "1 N 3"]:
    b = data.reshape(len(data), 3, 3).astype(np.int32)
    # The top byte goes to the top of 32 bits and back down, which spreads its sign.
    fixed = b[..., 0] | (b[..., 1] << 8) | ((b[..., 2] << 24) >> 8)
    return torch.from_numpy(fixed.astype(np.float32) / np.float32(2**bits))[None]


def _first_three(quats: Float[Tensor, "N 4"]) -> np.ndarray:
    """x, y, z of the unit quaternion with w >= 0, a byte each."""
    q = torch.nn.functional.normalize(quats, dim=-1)
    xyz = torch.where(q[:, :1] < 0, -q[:, 1:], q[:, 1:])
    return quantised(xyz * 127.5 + 127.5)


def _from_first_three(data: np.ndarray) -> Float[Tensor, "1 N 4"]:
    xyz = floats(data) / 127.5 - 1
    w = (1 - xyz.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
    return torch.cat((w, xyz), dim=-1)


def _smallest_three(quats: Float[Tensor, "N 4"]) -> np.ndarray:
    """32 bits: which of x, y, z, w is largest (2 bits), then sign and 9 bits of each other, in that order."""
    q = torch.nn.functional.normalize(quats, dim=-1).roll(-1, dims=-1).numpy()  # xyzw
    largest = np.abs(q).argmax(axis=-1)
    q = q * np.where(np.take_along_axis(q, largest[:, None], axis=-1) < 0, -1, 1)
    # None of the others exceeds 1 / sqrt 2.
    magnitude = np.floor(np.abs(q) * (511 * 2**0.5) + 0.5).clip(0, 511).astype(np.uint32)
    packed = largest.astype(np.uint32)
    for i in range(4):
        word = packed << 10 | (q[:, i] < 0).astype(np.uint32) << 9 | magnitude[:, i]
        packed = np.where(largest == i, packed, word)
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _from_smallest_three(data: np.ndarray) -> Float[Tensor, "1 N 4"]:
    packed = np.ascontiguousarray(data).view("<u4")[:, 0]
    largest = packed >> 30
    q = np.zeros((len(packed), 4), np.float32)
    for i in (3, 2, 1, 0):
        stored = largest != i
        value = (packed & 511) / np.float32(511 * 2**0.5) * np.where(packed & 512, -1, 1)
        q[:, i] = np.where(stored, value, 0)
        packed = np.where(stored, packed >> 10, packed)
    rest = np.sqrt(np.clip(1 - (q**2).sum(axis=-1), 0, None))
    np.put_along_axis(q, largest[:, None].astype(np.int64), rest[:, None], axis=-1)
    return torch.from_numpy(q).roll(1, dims=-1)[None]  # wxyz

"""Niantic's .spz: quantised and compressed, about a tenth of the PLY.

Every attribute of all Gaussians in turn: positions (24-bit fixed point), opacities, colours, log scales (a
byte each), rotations, SH (a byte each). Versions 1 to 3 are one gzip stream that starts with a header of 16
bytes; version 4 is a plain header of 32 bytes, a table of sizes, and a Zstandard stream for each attribute.

Source: github.com/nianticlabs/spz (file format).
"""

import gzip
import io
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.atomic import atomic_file
from geometry.console import say
from geometry.errors import InputError, reading
from nvs.gaussians.files.common import (
    AXES_FLIP,
    drawable,
    floats,
    from_smallest_three,
    parts,
    quantised,
    read_bytes,
    require_count,
    smallest_three,
)
from nvs.gaussians.record import Gaussians
from nvs.gaussians.spherical_harmonics import MAX_DEGREE
from nvs.gaussians.transform import turn_gaussians

_HEADER = struct.Struct("<IIIBBBB")  # magic, version, count, SH degree, fractional bits, flags, streams in 4
_PLACE = struct.Struct("<I12x")  # of the table of sizes: the rest of the header of version 4
_SIZES = struct.Struct("<QQ")  # of a stream: packed, unpacked
_MAGIC = 0x5053474E  # NGSP
_ANTIALIASED, _EXTENSIONS = 0x1, 0x2  # flags; extensions are records of other vendors
_AXES, _RUB, _RDF = 0xADBE0003, 4, 6  # the extension that names the axes; y up, which is the default; y down
_COLOUR = 0.15  # bytes hold 0.5 + 0.15 * coefficient: room for colours that SH bring back into range
_WIDEST = 9 + 1 + 3 + 3 + 4 + 3 * 24  # bytes of a Gaussian with SH of degree 4
_FINEST = 16  # fractional bits of positions at most; more would only cost compression


def write(
    path: Path | str,
    gaussians: Gaussians,
    *,
    version: Literal[2, 3, 4] = 3,
    world: Literal["y_down", "y_up"] = "y_down",
) -> int:
    """Write Niantic's .spz, about a tenth of the PLY; all SH degrees are kept, to 1/128.

    Positions get as many fractional bits as the farthest Gaussian leaves, at most 16.

    Args:
        version: 3 is read by most viewers; 4 is the current one and needs zstandard. Both store rotations to
            10 bits a component; 2 to 8 bits, for older viewers.
        world: axes of the Gaussians' world. The format's own are y up, so y_down is turned half around x.

    Raises:
        InputError: a Gaussian lies beyond 8 million units, or zstandard is not installed.
    """
    zstandard = _zstandard(path) if version == 4 else None
    g = drawable(gaussians)
    if world == "y_down":
        g = turn_gaussians(g, AXES_FLIP.to(g.means)[None])
    count = g.means.shape[1]
    farthest = float(g.means.abs().max()) if count else 0.0
    bits = next((b for b in range(_FINEST, -1, -1) if round(farthest * 2**b) < 2**23), None)
    if bits is None:
        raise InputError(
            f"{path}: expected Gaussians within 8388607 units for .spz, got one at {farthest:.3g}"
        )
    attributes: list[Callable[[Gaussians], np.ndarray]] = [
        lambda p: _fixed_point(p.means[0], bits),
        lambda p: quantised(p.opacities[0] * 255),
        lambda p: quantised((p.sh[0, :, 0] * _COLOUR + 0.5) * 255),
        lambda p: quantised((p.scales[0].log() + 10) * 16),
        lambda p: (_first_three if version == 2 else _smallest_three)(p.quats[0]),
    ]
    if g.sh_degree:
        attributes.append(lambda p: quantised(p.sh[0, :, 1:] * 128 + 128))
    streams = len(attributes) if version == 4 else 0
    flags = _ANTIALIASED if g.antialiased else 0
    header = _HEADER.pack(_MAGIC, version, count, g.sh_degree, bits, flags, streams)

    def pieces(attribute: Callable[[Gaussians], np.ndarray]) -> Iterator[bytes]:
        return (np.ascontiguousarray(attribute(part)).tobytes() for part in parts(g))

    with atomic_file(path) as temporary:
        if zstandard is None:
            with gzip.open(temporary, "wb", compresslevel=6) as file:
                file.write(header)
                for attribute in attributes:
                    file.writelines(pieces(attribute))
        else:
            plain = [b"".join(pieces(attribute)) for attribute in attributes]
            packed = [zstandard.ZstdCompressor(level=12).compress(stream) for stream in plain]
            header += _PLACE.pack(_HEADER.size + _PLACE.size)
            sizes = [_SIZES.pack(len(a), len(b)) for a, b in zip(packed, plain)]
            temporary.write_bytes(b"".join([header, *sizes, *packed]))
    return count


def read(path: Path | str, *, world: Literal["y_down", "y_up"] = "y_down") -> Gaussians:
    """Read .spz of versions 1 to 4. Of SH of degree 4 the first three degrees are kept.

    Args:
        world: axes wanted; y_down undoes the turn of `write`.

    Raises:
        InputError: not such a file, another version, cut short, axes that are neither y up nor y down, or
            version 4 and zstandard is not installed.
    """
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        with reading(path, "gzip in an .spz file"), gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            data = file.read(_HEADER.size)
            if len(data) == _HEADER.size:
                require_count(_HEADER.unpack(data)[2], path)
                # As much as so many of the widest have, and the records behind them: zeros pack well.
                data += file.read(_HEADER.unpack(data)[2] * _WIDEST + (1 << 20))
    if len(data) < _HEADER.size:
        raise InputError(f"{path}: expected an .spz header of {_HEADER.size} bytes, got {len(data)}")
    magic, version, count, degree, bits, flags, streams = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise InputError(f"{path}: expected an .spz file, got other first bytes")
    if version not in (1, 2, 3, 4) or degree > 4:
        raise InputError(
            f"{path}: expected .spz version 1 to 4, SH degree 0 to 4, got version {version}, degree {degree}"
        )
    require_count(count, path)
    rest = (degree + 1) ** 2 - 1
    widths = [6 if version == 1 else 9, 1, 3, 3, 4 if version >= 3 else 3, 3 * rest]
    sizes = [count * width for width in widths]
    if version == 4:
        columns, records = _unpacked(path, data, streams, sizes)
    else:
        ends = np.cumsum([_HEADER.size, *sizes])
        if len(data) < ends[-1]:
            raise InputError(f"{path}: expected {count} Gaussians, the file is too short for them")
        columns, records = [data[a:b] for a, b in pairwise(ends)], data[ends[-1] :]
    position, opacity, colour, scale, rotation, sh = (
        np.frombuffer(column, np.uint8).reshape(count, width) for column, width in zip(columns, widths)
    )
    if degree > MAX_DEGREE:
        say(f"{path}: SH of degree {degree}, the first {MAX_DEGREE} degrees of it are used")
        degree, rest = MAX_DEGREE, (MAX_DEGREE + 1) ** 2 - 1
        sh = sh[:, : 3 * rest]
    sh = torch.cat(
        (
            ((floats(colour) / 255 - 0.5) / _COLOUR)[..., None, :],
            ((floats(sh) - 128) / 128).reshape(1, count, rest, 3),
        ),
        dim=-2,
    )
    if version == 1:  # half floats
        means = floats(np.ascontiguousarray(position).view("<f2"))
    else:
        means = _from_fixed_point(position, bits)
    gaussians = Gaussians(
        means=means,
        quats=(_from_smallest_three if version >= 3 else _from_first_three)(rotation),
        scales=(floats(scale) / 16 - 10).exp(),
        opacities=floats(opacity)[..., 0] / 255,
        sh=sh,
    ).marked(bool(flags & _ANTIALIASED))
    stored_down = _stored_y_down(path, records) if flags & _EXTENSIONS else False
    return gaussians if stored_down == (world == "y_down") else turn_gaussians(gaussians, AXES_FLIP[None])


def _unpacked(path: Path | str, data: bytes, streams: int, sizes: list[int]) -> tuple[list[bytes], bytes]:
    """The attributes of a file of version 4, empty where there is no stream; the records of extensions."""
    zstandard = _zstandard(path)
    short = InputError(f"{path}: expected {streams} streams of Gaussians, the file is cut short or damaged")
    start = _HEADER.size + _PLACE.size
    if len(data) < start:
        raise short
    (table,) = _PLACE.unpack_from(data, _HEADER.size)
    at = table + streams * _SIZES.size
    if table < start or at > len(data) or streams not in (5, 6):
        raise short
    columns = []
    for i, size in enumerate(sizes[:streams]):
        packed, plain = _SIZES.unpack_from(data, table + i * _SIZES.size)
        if at + packed > len(data) or plain != size:
            raise short
        try:
            unpacker = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data[at : at + packed]))
            columns.append(unpacker.read(size))
        except zstandard.ZstdError:
            raise short from None
        if len(columns[-1]) != size:
            raise short
        at += packed
    if streams == 5 and sizes[5]:
        raise short
    return [*columns, *([b""] if streams == 5 else [])], data[start:table]


def _stored_y_down(path: Path | str, records: bytes) -> bool:
    """Whether an extension says that the axes are ours. Records of other kinds do not change the numbers."""
    at = 0
    while at + 8 <= len(records):
        kind, length = struct.unpack_from("<II", records, at)
        if kind == _AXES and length == 4:
            (axes,) = struct.unpack_from("<I", records, at + 8)
            if axes not in (0, _RUB, _RDF):
                raise InputError(
                    f"{path}: expected axes number {_RUB} (right, up, back) or {_RDF} (right, down, front), "
                    f"got {axes}"
                )
            return axes == _RDF
        at += 8 + length
    return False


def _zstandard(path: Path | str) -> ModuleType:
    try:
        import zstandard
    except ImportError:
        raise InputError(
            f"{path}: .spz of version 4 needs the package zstandard, not installed; "
            "pip install 'feedforward-nvs[spz4]'"
        ) from None
    return zstandard


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
    largest, others = smallest_three(quats.roll(-1, dims=-1).numpy())  # of xyzw
    # None of the others exceeds 1 / sqrt 2.
    magnitude = np.floor(np.abs(others) * (511 * 2**0.5) + 0.5).clip(0, 511).astype(np.uint32)
    packed = largest.astype(np.uint32)
    for i in range(3):
        packed = packed << 10 | (others[:, i] < 0).astype(np.uint32) << 9 | magnitude[:, i]
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _from_smallest_three(data: np.ndarray) -> Float[Tensor, "1 N 4"]:
    packed = np.ascontiguousarray(data).view("<u4")[:, 0]
    fields = packed[:, None] >> np.array([20, 10, 0], np.uint32)
    others = (fields & 511) / np.float32(511 * 2**0.5) * np.where(fields & 512, -1, 1)
    return torch.from_numpy(from_smallest_three(packed >> 30, others)).roll(1, dims=-1)[None]  # wxyz

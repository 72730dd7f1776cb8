"""Gaussians in files: INRIA PLY (exact), and for the web .splat and .spz (quantised).

Files hold one scene in the world the Gaussians are in; `turn_gaussians` turns it beforehand.
Gaussians that no viewer can draw (a number that is not finite, a scale that is not positive) are left out,
and every writer returns how many it wrote.
"""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.ply import read_vertices, require, write_vertices
from nvs.cameras.up_axis import turn_gaussians
from nvs.gaussians import Gaussians, rgb_to_sh, sh_to_rgb

_CHUNK = 1 << 16  # Gaussians converted at a time
_LEAST_OPACITY = 1e-6  # keeps the logit finite: +-13.8
_SPLAT = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write_gaussians(path: Path | str, gaussians: Gaussians) -> int:
    """Write in the format that the name's ending says: .ply, .splat or .spz."""
    return _by_suffix(path, {".ply": write_ply, ".splat": write_splat, ".spz": write_spz})(path, gaussians)


def read_gaussians(path: Path | str) -> Gaussians:
    """Read .ply, .splat or .spz; one scene, float32."""
    return _by_suffix(path, {".ply": read_ply, ".splat": read_splat, ".spz": read_spz})(path)


def write_ply(path: Path | str, gaussians: Gaussians) -> int:
    """Write the layout of the 3DGS authors: logit opacity, log scales, quaternion wxyz, SH channel-major.

    All SH degrees are kept. Opacities are clamped just inside 0..1, so that every number is finite.

    Source: Kerbl et al. 2023, their published PLY files.
    """
    g = _drawable(gaussians)
    rest = g.sh.shape[-2] - 1
    names = [*"xyz", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(3 * rest)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    dtype = np.dtype([(name, "<f4") for name in names])

    def chunks() -> Iterator[np.ndarray]:
        for part in _parts(g):
            columns = (
                part.means[0],
                torch.zeros_like(part.means[0]),  # normals, which nobody uses
                part.sh[0, :, 0],
                part.sh[0, :, 1:].mT.flatten(1),  # all of red, then green, then blue
                part.opacities[0, :, None].clamp(_LEAST_OPACITY, 1 - _LEAST_OPACITY).logit(),
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


def read_ply(path: Path | str) -> Gaussians:
    """Read what `write_ply` and the 3DGS authors' code write.

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


def write_splat(path: Path | str, gaussians: Gaussians) -> int:
    """Write antimatter15's .splat: 32 bytes each, largest first so that a viewer shows most while loading.

    View-dependent colour is lost: the format has room for one colour.
    """
    g = _drawable(gaussians)
    weight = g.scales[0].log().sum(-1) + g.opacities[0].clamp(min=_LEAST_OPACITY).log()
    g = select(g, weight.argsort(descending=True))
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for part in _parts(g):
            rows = np.empty(part.means.shape[1], _SPLAT)
            rows["mean"], rows["scale"] = part.means[0], part.scales[0]
            rgba = torch.cat((sh_to_rgb(part.sh[0, :, 0]), part.opacities[0, :, None]), dim=-1)
            rows["rgba"] = _bytes(rgba * 255)
            rows["quat"] = _bytes(torch.nn.functional.normalize(part.quats[0], dim=-1) * 128 + 128)
            file.write(rows.tobytes())
    return g.means.shape[1]


def read_splat(path: Path | str) -> Gaussians:
    """Read .splat; SH of degree 0.

    Raises:
        InputError: no such file, or its size is not a multiple of 32 bytes.
    """
    data = _read_bytes(path)
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


# .spz: a gzip stream of a 16-byte header, then every attribute of all Gaussians in turn: positions (24-bit
# fixed point), opacities, colours, log scales (a byte each), rotations, SH (a byte each).
_SPZ_HEADER = struct.Struct("<IIIBBBB")
_SPZ_MAGIC = 0x5053474E  # NGSP
_SPZ_EXTENSIONS = 0x2  # flag: records of other vendors follow the header
_SPZ_COLOUR = 0.15  # bytes hold 0.5 + 0.15 * coefficient: room for colours that SH bring back into range
_SPZ_FINEST = 16  # fractional bits of positions at most; more would only cost compression
_SPZ_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # our axes, y down, to the format's, y up


def write_spz(
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

    Source: github.com/nianticlabs/spz (file format).
    """
    g = _drawable(gaussians)
    if world == "y_down":
        g = turn_gaussians(g, _SPZ_FLIP.to(g.means)[None])
    count = g.means.shape[1]
    farthest = float(g.means.abs().max()) if count else 0.0
    bits = next((b for b in range(_SPZ_FINEST, -1, -1) if round(farthest * 2**b) < 2**23), None)
    if bits is None:
        raise InputError(
            f"{path}: expected Gaussians within 8388607 units for .spz, got one at {farthest:.3g}"
        )
    header = _SPZ_HEADER.pack(_SPZ_MAGIC, version, count, g.sh_degree, bits, 0, 0)
    attributes: list[Callable[[Gaussians], np.ndarray]] = [
        lambda p: _fixed_point(p.means[0], bits),
        lambda p: _bytes(p.opacities[0] * 255),
        lambda p: _bytes((p.sh[0, :, 0] * _SPZ_COLOUR + 0.5) * 255),
        lambda p: _bytes((p.scales[0].log() + 10) * 16),
        lambda p: (_smallest_three if version == 3 else _first_three)(p.quats[0]),
        lambda p: _bytes(p.sh[0, :, 1:] * 128 + 128),
    ]
    with atomic_file(path) as temporary, gzip.open(temporary, "wb", compresslevel=6) as file:
        file.write(header)
        for attribute in attributes:
            for part in _parts(g):
                file.write(np.ascontiguousarray(attribute(part)).tobytes())
    return count


def read_spz(path: Path | str, *, world: Literal["y_down", "y_up"] = "y_down") -> Gaussians:
    """Read .spz of versions 2 and 3.

    Args:
        world: axes wanted; y_down undoes the turn of `write_spz`.

    Raises:
        InputError: not such a file, another version, or cut short.
    """
    data = _read_bytes(path)
    try:
        data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected an .spz file (gzip), could not unpack it ({error})") from None
    if len(data) < _SPZ_HEADER.size:
        raise InputError(f"{path}: expected an .spz header of {_SPZ_HEADER.size} bytes, got {len(data)}")
    magic, version, count, degree, bits, flags, _ = _SPZ_HEADER.unpack_from(data)
    if magic != _SPZ_MAGIC:
        raise InputError(f"{path}: expected an .spz file, its first bytes say otherwise")
    if version not in (2, 3) or degree > 3 or flags & _SPZ_EXTENSIONS:
        raise InputError(
            f"{path}: expected .spz version 2 or 3, SH degree 0 to 3, no extensions, got version {version}, "
            f"degree {degree}, flags {flags:#x}"
        )
    rest = (degree + 1) ** 2 - 1
    widths = (9, 1, 3, 3, 4 if version == 3 else 3, 3 * rest)
    if len(data) < _SPZ_HEADER.size + count * sum(widths):
        raise InputError(f"{path}: expected {count} Gaussians, the file is too short for them")
    fields, start = [], _SPZ_HEADER.size
    for width in widths:
        fields.append(np.frombuffer(data, np.uint8, count * width, start).reshape(count, width))
        start += count * width
    position, opacity, colour, scale, rotation, sh = fields
    sh = torch.cat(
        (
            ((_floats(colour) / 255 - 0.5) / _SPZ_COLOUR)[..., None, :],
            ((_floats(sh) - 128) / 128).reshape(1, count, rest, 3),
        ),
        dim=-2,
    )
    gaussians = Gaussians(
        means=_from_fixed_point(position, bits),
        quats=(_from_smallest_three if version == 3 else _from_first_three)(rotation),
        scales=(_floats(scale) / 16 - 10).exp(),
        opacities=_floats(opacity)[..., 0] / 255,
        sh=sh,
    )
    return turn_gaussians(gaussians, _SPZ_FLIP[None]) if world == "y_down" else gaussians


def select(gaussians: Gaussians, which: Tensor | slice) -> Gaussians:
    """Some Gaussians of one scene, by a boolean mask [N], indices or a slice."""
    return gaussians.map(lambda t: t[:, which])


def keep_mask(
    depth: Float[Tensor, "B V H W"],
    opacity: Float[Tensor, "B V H W"] | None = None,
    sky: Bool[Tensor, "B V H W"] | None = None,
    *,
    border: float = 8 / 256,
    depth_quantile: float = 1.0,
    min_opacity: float = 0.0,
) -> Bool[Tensor, "B V H W"]:
    """Which pixels' Gaussians to keep: without floaters at image borders and in the sky.

    A network sees too little at an image's border to place it; such Gaussians hang in the air from any
    other view. Flattened from view 1 on the mask selects the Gaussians of a head with one per pixel.

    Args:
        opacity: of each pixel's Gaussian; goes with ``min_opacity``.
        sky: True on sky, whose Gaussians are left out.
        border: width to leave out, as a share of the image size: ``int(border * size)`` pixels at every
            side (the released exporter's 8 of 256).
        depth_quantile: leave out what is farther than this quantile of its view's depth (released: 0.9).
        min_opacity: leave out what is less opaque.
    """
    H, W = depth.shape[-2:]
    keep = depth.isfinite() & (depth > 0)
    rows, columns = int(border * H), int(border * W)
    inside = torch.zeros_like(keep)
    inside[..., rows : H - rows, columns : W - columns] = True
    keep = keep & inside
    if depth_quantile < 1:
        limit = depth.double().flatten(2).nanquantile(depth_quantile, dim=-1)
        keep = keep & (depth <= limit[..., None, None])
    if sky is not None:
        keep = keep & ~sky
    if opacity is not None:
        keep = keep & (opacity >= min_opacity)
    return keep


def _drawable(gaussians: Gaussians) -> Gaussians:
    """On the CPU, one scene, and only what has finite numbers, positive scales and a rotation."""
    if len(gaussians.means) != 1:
        raise ValueError(f"a file holds one scene: expected batch size 1, got {len(gaussians.means)}")
    g = gaussians.detach().to("cpu")
    good = (g.scales > 0).all(-1) & (g.quats.norm(dim=-1) > 1e-12)
    for field in (g.means, g.quats, g.scales, g.opacities[..., None], g.sh.flatten(2)):
        good &= field.isfinite().all(-1)
    return g if bool(good.all()) else select(g, good[0])


def _parts(gaussians: Gaussians) -> Iterator[Gaussians]:
    for start in range(0, gaussians.means.shape[1], _CHUNK):
        yield select(gaussians, slice(start, start + _CHUNK))


def _by_suffix(path: Path | str, table: dict[str, Callable]) -> Callable:
    suffix = Path(path).suffix.lower()
    if suffix not in table:
        raise InputError(f"{path}: expected a name that ends in {', '.join(table)}")
    return table[suffix]


def _read_bytes(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of Gaussians, found no such file") from None


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()


def _floats(data: np.ndarray) -> Float[Tensor, "1 N c"]:
    return torch.from_numpy(data.astype(np.float32))[None]


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
    return _bytes(xyz * 127.5 + 127.5)


def _from_first_three(data: np.ndarray) -> Float[Tensor, "1 N 4"]:
    xyz = _floats(data) / 127.5 - 1
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

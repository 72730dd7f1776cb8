"""PlayCanvas' compressed PLY: 16 bytes a Gaussian, and a byte for each further SH coefficient.

Gaussians stand in groups of 256 neighbours. An element ``chunk`` holds the range of place, log scale and
colour in each group; ``vertex`` holds four words: place and log scale within that range (11, 10 and 11 bits),
rotation (the smallest three of wxyz, 10 bits each), colour and opacity (8 bits each). ``sh`` holds the rest.

Source: PlayCanvas' splat-transform and SuperSplat, which define the format by what they write.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt32

from geometry.errors import InputError
from geometry.formats.ply import read_elements, require, write_elements
from nvs.gaussians.files.common import (
    antialiased_by,
    drawable,
    from_smallest_three,
    morton_order,
    ply_comments,
    quantised,
    smallest_three,
)
from nvs.gaussians.record import Gaussians, rgb_to_sh, sh_to_rgb

_GROUP = 256
_LEAST_LOG, _MOST_LOG = -20.0, 20.0  # of scales
_SH_RANGE = 8.0  # coefficients of -4..4
_CHUNK = np.dtype(
    [
        (f"{end}_{prefix}{axis}", "<f4")
        for prefix, axes in (("", "xyz"), ("scale_", "xyz"), ("", "rgb"))
        for end in ("min", "max")
        for axis in axes
    ]
)
_VERTEX = np.dtype([(f"packed_{what}", "<u4") for what in ("position", "rotation", "scale", "color")])


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write a compressed PLY in the Gaussians' own axes, as the plain one; SH beyond -4..4 are clamped."""
    g = drawable(gaussians)
    g = g[:, torch.from_numpy(morton_order(g.means[0].numpy()))]
    count = g.means.shape[1]
    ranges = np.zeros(-(-count // _GROUP), _CHUNK)
    rows = np.zeros(count, _VERTEX)
    colours = np.concatenate((sh_to_rgb(g.sh[0, :, 0]).numpy(), g.opacities[0, :, None].numpy()), axis=-1)
    logs = g.scales[0].log().clamp(_LEAST_LOG, _MOST_LOG).numpy()
    rows["packed_position"] = _packed(_spread(g.means[0].numpy(), ranges, [*"xyz"]), (11, 10, 11))
    rows["packed_scale"] = _packed(_spread(logs, ranges, [f"scale_{a}" for a in "xyz"]), (11, 10, 11))
    colours[:, :3] = _spread(colours[:, :3], ranges, [*"rgb"])
    rows["packed_color"] = _packed(colours, (8, 8, 8, 8))
    largest, others = smallest_three(g.quats[0].numpy())
    rows["packed_rotation"] = largest.astype(np.uint32) << 30 | _packed(others / 2**0.5 + 0.5, (10, 10, 10))
    elements = [("chunk", _CHUNK, len(ranges), [ranges]), ("vertex", _VERTEX, count, [rows])]
    if g.sh_degree:
        rest = g.sh[0, :, 1:].mT.flatten(1)  # all of red, then green, then blue
        data = quantised((rest / _SH_RANGE + 0.5) * 256 - 0.5)
        dtype = np.dtype([(f"f_rest_{i}", "u1") for i in range(data.shape[1])])
        elements.append(("sh", dtype, count, [np.ascontiguousarray(data).view(dtype)[:, 0]]))
    write_elements(path, elements, comments=ply_comments(g))
    return count


def read(path: Path | str) -> Gaussians:
    """Read a compressed PLY.

    Raises:
        InputError: not such a file.
    """
    elements, comments = read_elements(path)
    if "chunk" not in elements:
        raise InputError(f"{path}: expected a compressed PLY with an element 'chunk', found none")
    return unpack(elements, comments, path)


def unpack(elements: Mapping[str, np.ndarray], comments: Iterable[str], path: Path | str) -> Gaussians:
    """The Gaussians of a compressed PLY's elements."""
    rows, chunks = elements["vertex"], elements["chunk"]
    require(rows, _VERTEX.names or (), path)
    require(chunks, (_CHUNK.names or ())[:12], path)
    if len(chunks) != -(-len(rows) // _GROUP):
        raise InputError(
            f"{path}: expected a chunk for every {_GROUP} of {len(rows)} Gaussians, got {len(chunks)} chunks"
        )
    colours = _unpacked(rows["packed_color"], (8, 8, 8, 8))
    opacities = colours[:, 3]
    rgb = colours[:, :3]
    if "min_r" in (chunks.dtype.names or ()):  # older files have no range of colours
        rgb = _gathered(rgb, chunks, [*"rgb"])
    rotation = rows["packed_rotation"]
    others = (_unpacked(rotation, (10, 10, 10)) - 0.5) * 2**0.5
    sh = rgb_to_sh(torch.from_numpy(rgb))[None, :, None]
    if "sh" in elements:
        rest = elements["sh"]
        names = rest.dtype.names or ()
        if len(names) not in (9, 24, 45) or len(rest) != len(rows):
            raise InputError(
                f"{path}: expected 9, 24 or 45 SH coefficients of {len(rows)} Gaussians, got {len(names)} of "
                f"{len(rest)}"
            )
        data = np.stack([rest[f"f_rest_{i}"] for i in range(len(names))], axis=-1).astype(np.float32)
        share = np.where(data == 0, 0, np.where(data == 255, 1, (data + 0.5) / 256)).astype(np.float32)
        higher = torch.from_numpy((share - 0.5) * np.float32(_SH_RANGE))[None]
        sh = torch.cat((sh, higher.unflatten(-1, (3, -1)).mT), dim=-2)
    logs = _gathered(
        _unpacked(rows["packed_scale"], (11, 10, 11)), chunks, [f"scale_{axis}" for axis in "xyz"]
    )
    means = _gathered(_unpacked(rows["packed_position"], (11, 10, 11)), chunks, [*"xyz"])
    return Gaussians(
        means=torch.from_numpy(means)[None],
        quats=torch.from_numpy(from_smallest_three(rotation >> 30, others))[None],
        scales=torch.from_numpy(logs)[None].exp(),
        opacities=torch.from_numpy(opacities)[None],
        sh=sh,
    ).marked(antialiased_by(comments))


def _spread(values: Float[np.ndarray, "N 3"], ranges: np.ndarray, names: list[str]) -> np.ndarray:
    """Values as shares 0..1 of their group's range, which is written to ``ranges``."""
    starts = np.arange(0, len(values), _GROUP)
    if len(starts) == 0:
        return values
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    for k, name in enumerate(names):
        ranges[f"min_{name}"], ranges[f"max_{name}"] = low[:, k], high[:, k]
    group = np.arange(len(values)) // _GROUP
    extent = high - low
    return (values - low[group]) / np.where(extent > 0, extent, 1)[group]


def _gathered(shares: Float[np.ndarray, "N 3"], ranges: np.ndarray, names: list[str]) -> np.ndarray:
    """The values of `_spread`."""
    low, high = (np.stack([ranges[f"{end}_{name}"] for name in names], axis=-1) for end in ("min", "max"))
    group = np.arange(len(shares)) // _GROUP
    return (low[group] * (1 - shares) + high[group] * shares).astype(np.float32)


def _packed(shares: Float[np.ndarray, "N c"], bits: tuple[int, ...]) -> UInt32[np.ndarray, " N"]:
    """Shares 0..1 as one word, the first in its highest bits."""
    word = np.zeros(len(shares), np.uint32)
    for k, width in enumerate(bits):
        most = 2**width - 1
        step = np.floor(shares[:, k].astype(np.float64) * most + 0.5).clip(0, most).astype(np.uint32)
        word = word << np.uint32(width) | step
    return word


def _unpacked(words: np.ndarray, bits: tuple[int, ...]) -> Float[np.ndarray, "N c"]:
    words = words.astype(np.uint32)
    out = np.empty((len(words), len(bits)), np.float32)
    for k in range(len(bits) - 1, -1, -1):
        most = np.uint32(2 ** bits[k] - 1)
        out[:, k] = (words & most) / np.float32(most)
        words = words >> np.uint32(bits[k])
    return out

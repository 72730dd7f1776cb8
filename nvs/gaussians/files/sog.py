"""PlayCanvas' SOG, version 2: the web's format, a twentieth of the PLY.

A zip of meta.json and lossless WebP pictures in which a pixel is a Gaussian, along a Z curve: places on a
logarithmic scale (16 bits), rotations (the smallest three of wxyz, 8 bits each), log scales and colours as
entries of a table of 256, opacities, and further SH as rows of a palette of up to 65,536.

Source: PlayCanvas' developer site ("The SOG Format"), version 2.
"""

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image

from geometry.atomic import atomic_file
from geometry.errors import InputError, reading
from nvs.gaussians.files.common import (
    drawable,
    from_smallest_three,
    morton_order,
    quantised,
    read_bytes,
    require_count,
    smallest_three,
)
from nvs.gaussians.record import Gaussians

_TABLE = 256
_PALETTE = 1 << 16
_ACROSS = 64  # palette rows beside each other in the picture of the palette
_QUAT_TAG = 252  # of the largest component, which is added to it
_LARGEST_SIDE = 16383  # of a WebP picture
_LARGEST_FILE = 1 << 30  # bytes of a file in the zip


def write(path: Path | str, gaussians: Gaussians) -> int:
    """Write a bundled .sog in the Gaussians' own axes, as viewers expect: those of the PLY.

    Raises:
        InputError: more Gaussians than a picture has room for.
    """
    data, count = encode(path, gaussians)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return count


def encode(path: Path | str, gaussians: Gaussians) -> tuple[bytes, int]:
    """The bytes of a bundled .sog, for ``path``, and how many Gaussians they hold."""
    g = drawable(gaussians)
    g = g[:, torch.from_numpy(morton_order(g.means[0].numpy()))]
    count = g.means.shape[1]
    width = max(4, math.ceil(math.sqrt(count) / 4) * 4)
    height = max(4, math.ceil(count / width / 4) * 4)
    if max(width, height) > _LARGEST_SIDE:
        raise InputError(f"{path}: expected at most {_LARGEST_SIDE**2} Gaussians for .sog, got {count}")
    pictures: dict[str, bytes] = {}

    def draw(name: str, columns: np.ndarray, size: tuple[int, int] = (height, width)) -> list[str]:
        """A picture whose first pixels are these rows; opaque where they have no fourth column."""
        pixels = np.full((size[0] * size[1], 4), 255, np.uint8)
        pixels[:, :3] = 0
        pixels[: len(columns), : columns.shape[1]] = columns
        file = io.BytesIO()
        picture = Image.fromarray(pixels.reshape(*size, 4))
        picture.save(file, "WEBP", lossless=True, exact=True, method=2)  # exact: colours where alpha is 0 too
        pictures[f"{name}.webp"] = file.getvalue()
        return [f"{name}.webp"]

    places = g.means[0].double().numpy()
    places = np.sign(places) * np.log1p(np.abs(places))
    low, high = (places.min(axis=0), places.max(axis=0)) if count else (np.zeros(3), np.zeros(3))
    steps = np.round((places - low) / np.where(high > low, high - low, 1) * 65535).astype(np.uint16)
    largest, others = smallest_three(g.quats[0].numpy())
    quats = np.round((others / 2**0.5 + 0.5) * 255).clip(0, 255)
    log_table, log_entries = _table(g.scales[0].log().numpy())
    colour_table, colour_entries = _table(g.sh[0, :, 0].numpy())
    opacities = quantised(g.opacities[0, :, None] * 255)
    meta = {
        "version": 2,
        "asset": {"generator": "feedforward-nvs"},
        "count": count,
        "antialias": g.antialiased,
        **({"model": "antialiased"} if g.antialiased else {}),
        "means": {
            "mins": low.tolist(),
            "maxs": high.tolist(),
            "files": draw("means_l", steps & 255) + draw("means_u", steps >> 8),
        },
        "scales": {"codebook": log_table.tolist(), "files": draw("scales", log_entries)},
        "quats": {"files": draw("quats", np.concatenate((quats, largest[:, None] + _QUAT_TAG), axis=-1))},
        "sh0": {
            "codebook": colour_table.tolist(),
            "files": draw("sh0", np.concatenate((colour_entries, opacities), axis=-1)),
        },
    }
    if g.sh_degree and count:
        terms = g.sh.shape[2] - 1
        palette, rows = _palette(g.sh[0, :, 1:].flatten(1).numpy(), _PALETTE)
        table, entries = _table(palette)
        lines = -(-len(palette) // _ACROSS)
        meta["shN"] = {
            "count": len(palette),
            "bands": g.sh_degree,
            "codebook": table.tolist(),
            "files": draw("shN_centroids", entries.reshape(-1, 3), (lines, _ACROSS * terms))
            + draw("shN_labels", np.stack((rows & 255, rows >> 8), axis=-1)),
        }
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in {**pictures, "meta.json": json.dumps(meta, allow_nan=False).encode()}.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # no date: equal Gaussians give equal files
    return bundle.getvalue(), count


def read(path: Path | str) -> Gaussians:
    """Read a bundled .sog, or the meta.json of one whose pictures lie beside it.

    Raises:
        InputError: not such a file, another version, or a picture is missing or too small.
    """
    path = Path(path)
    data = read_bytes(path)
    if path.suffix.lower() == ".json":
        return _read(path, data, lambda name: read_bytes(path.parent / Path(name).name))
    return decode(path, data)


def decode(path: Path | str, data: bytes) -> Gaussians:
    """The Gaussians of a bundled .sog that ``path`` holds."""
    with reading(path, "a SOG (in a .sog, a zip)"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        if (size := max((info.file_size for info in archive.infolist()), default=0)) > _LARGEST_FILE:
            raise InputError(f"{path}: expected files below {_LARGEST_FILE:,} bytes, got {size:,}")
        return _read(path, archive.read("meta.json"), archive.read)


def _read(path: Path | str, text: bytes, load: Callable[[str], bytes]) -> Gaussians:
    with reading(path, "the meta.json of a SOG"):
        meta = json.loads(text)
        version, count = meta.get("version", 1), int(meta["count"]) if "count" in meta else 0
    if version != 2:
        raise InputError(f"{path}: expected SOG version 2, got version {version}")
    require_count(count, path)

    def pixels(name: str) -> UInt8[np.ndarray, "h w 4"]:
        try:
            with Image.open(io.BytesIO(load(name)), formats=("WEBP", "PNG")) as picture:
                return np.asarray(picture.convert("RGBA"))
        except (OSError, Image.DecompressionBombError) as error:
            raise InputError(f"{path}: expected a picture {name}, could not read it ({error})") from None

    def rows(name: str) -> UInt8[np.ndarray, "N 4"]:
        flat = pixels(name).reshape(-1, 4)
        if len(flat) < count:
            raise InputError(f"{path}: expected {count} pixels in {name}, got {len(flat)}")
        return flat[:count]

    def table(part: dict) -> Float[np.ndarray, " n"]:
        return np.array(part["codebook"], np.float32)

    means, sh0 = meta["means"], meta["sh0"]
    low, high = (np.array(means[key], np.float64) for key in ("mins", "maxs"))
    fine, coarse = (rows(name)[:, :3].astype(np.uint16) for name in means["files"])
    places = low + (coarse << 8 | fine) / 65535 * (high - low)
    quats, colour = rows(meta["quats"]["files"][0]), rows(sh0["files"][0])
    others = (quats[:, :3] / np.float32(255) - 0.5) * 2**0.5
    largest = quats[:, 3].astype(np.int64) - _QUAT_TAG
    rotation = from_smallest_three(largest.clip(0), others)
    rotation[largest < 0] = (1, 0, 0, 0)
    sh = table(sh0)[colour[:, :3]][:, None]
    if "shN" in meta:
        part = meta["shN"]
        terms = (int(part["bands"]) + 1) ** 2 - 1
        palette = pixels(part["files"][0])
        if palette.shape[1] != _ACROSS * terms:
            raise InputError(
                f"{path}: expected a palette {_ACROSS * terms} pixels wide for degree {part['bands']}, got "
                f"{palette.shape[1]}"
            )
        label = rows(part["files"][1]).astype(np.int64)
        label = label[:, 0] | label[:, 1] << 8
        if count and label.max() >= len(palette) * _ACROSS:
            raise InputError(f"{path}: expected SH labels below {len(palette) * _ACROSS}, got {label.max()}")
        higher = table(part)[palette.reshape(-1, terms, 4)[label, :, :3]]
        sh = np.concatenate((sh, higher), axis=1)
    return Gaussians(
        means=torch.from_numpy((np.sign(places) * np.expm1(np.abs(places))).astype(np.float32))[None],
        quats=torch.from_numpy(rotation)[None],
        scales=torch.from_numpy(table(meta["scales"])[rows(meta["scales"]["files"][0])[:, :3]]).exp()[None],
        opacities=torch.from_numpy(colour[:, 3] / np.float32(255))[None],
        sh=torch.from_numpy(sh)[None],
    ).marked(bool(meta.get("antialias")) or meta.get("model") == "antialiased")


def _table(
    values: Float[np.ndarray, "N c"],
) -> tuple[Float[np.ndarray, "256"], UInt8[np.ndarray, "N c"]]:
    """256 numbers from the least to the largest of these, and each's nearest.

    Evenly spaced: k-means has less error on the whole, but more on the few large Gaussians, which cover most
    of a picture.
    """
    if values.size == 0:
        return np.zeros(_TABLE), values.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    step = (high - low) / (_TABLE - 1) or 1.0
    return low + step * np.arange(_TABLE), np.round((values - low) / step).clip(0, _TABLE - 1).astype(
        np.uint8
    )


def _palette(
    values: Float[np.ndarray, "N c"], most: int
) -> tuple[Float[np.ndarray, "n c"], Int[np.ndarray, " N"]]:
    """At most ``most`` rows that stand for all of these, and each's row.

    A group of rows is split in two at its mean along the axis in which it varies most, all groups at once,
    until there are enough: the work grows with N log n, where that of k-means grows with N n.
    """
    group = np.zeros(len(values), np.int64)
    for _ in range(int(math.log2(most))):
        order = group.argsort(kind="stable")
        starts = np.searchsorted(group[order], np.arange(group.max() + 1))
        sizes = np.diff([*starts, len(values)])[:, None]
        ordered = values[order]
        mean = np.add.reduceat(ordered, starts, dtype=np.float64) / sizes
        spread = np.add.reduceat((ordered - mean[group[order]]) ** 2, starts)
        axis = spread.argmax(axis=-1)
        rows = np.arange(len(values))
        above = values[rows, axis[group]] > mean[group, axis[group]]
        group = np.unique(2 * group + above, return_inverse=True)[1]
    order = group.argsort(kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.diff([*starts, len(values)])[:, None]
    return np.add.reduceat(values[order], starts, dtype=np.float64) / sizes, group

"""glTF 2.0 with KHR_gaussian_splatting, in its binary form (.glb): every number in full.

A primitive of points carries places, rotations (xyzw), scales and opacities as they are drawn, and SH a
coefficient at a time. COLOR_0 shows plain points where a viewer does not know the extension.

Source: Khronos, KHR_gaussian_splatting (ellipse kernel).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.console import say
from geometry.errors import InputError, reading
from geometry.formats.glb import read_container, write_container
from geometry.ops.align import Similarity
from geometry.ops.rotations import matrix_from_quat_xyzw, wxyz_from_xyzw, xyzw_from_wxyz
from nvs.gaussians.files.common import AXES_FLIP, COLOUR_SPACE, drawable, require_count
from nvs.gaussians.record import Gaussians, sh_to_rgb
from nvs.gaussians.transform import transform_gaussians, turn_gaussians

_NAME = "KHR_gaussian_splatting"
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}  # glTF's numbers
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def write(path: Path | str, gaussians: Gaussians, *, world: Literal["y_down", "y_up"] = "y_down") -> int:
    """Write a .glb with one primitive of Gaussians; all SH degrees are kept.

    The antialiasing mode has no place in the format and is kept under ``extras``, for our own reader.

    Args:
        world: axes of the Gaussians' world. glTF's own are y up, so y_down is turned half around x.
    """
    g = drawable(gaussians)
    if world == "y_down":
        g = turn_gaussians(g, AXES_FLIP.to(g.means)[None])
    rgb = sh_to_rgb(g.sh[0, :, 0]).clamp(0, 1)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    columns = {
        "POSITION": g.means[0],
        "COLOR_0": torch.cat((linear, g.opacities[0, :, None]), dim=-1),
        f"{_NAME}:ROTATION": xyzw_from_wxyz(torch.nn.functional.normalize(g.quats[0], dim=-1)),
        f"{_NAME}:SCALE": g.scales[0],
        f"{_NAME}:OPACITY": g.opacities[0, :, None].clamp(0, 1),
    } | {name: g.sh[0, :, k] for k, name in enumerate(_sh_names(g.sh_degree))}
    data = [np.ascontiguousarray(c.float().numpy(), dtype="<f4") for c in columns.values()]
    kinds = {width: kind for kind, width in _WIDTHS.items()}
    accessors: list[dict[str, Any]] = []
    views: list[dict[str, int]] = []
    for array in data:
        accessor = {"bufferView": len(views), "componentType": 5126, "count": len(array)}
        accessors.append({**accessor, "type": kinds[array.shape[1]]})
        start = sum(a.nbytes for a in data[: len(views)])
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": 34962})
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "feedforward-nvs"},
        "extensionsUsed": [_NAME],
        "scene": 0,
        "scenes": [{"nodes": []}],
    }
    count = g.means.shape[1]
    if count:  # glTF has no empty accessors
        accessors[0] |= {"min": data[0].min(axis=0).tolist(), "max": data[0].max(axis=0).tolist()}
        primitive = {
            "mode": 0,
            "attributes": {name: i for i, name in enumerate(columns)},
            "extensions": {
                _NAME: {
                    "kernel": "ellipse",
                    "colorSpace": COLOUR_SPACE,
                    "projection": "perspective",
                    "sortingMethod": "cameraDistance",
                }
            },
            "extras": {"antialiased": g.antialiased},
        }
        document |= {
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "gaussians", "mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": sum(array.nbytes for array in data)}],
        }
    write_container(path, document, data)
    return count


def read(path: Path | str, *, world: Literal["y_down", "y_up"] = "y_down") -> Gaussians:
    """Read every primitive of Gaussians in a .glb, where its nodes put it, as one scene.

    Args:
        world: axes wanted; y_down undoes the turn of `write`.

    Raises:
        InputError: not such a file, no Gaussians in it, compressed ones, or a node that is no similarity.
    """
    document, binary = read_container(path)
    with reading(path, "a glTF 2.0 document"):
        found = list(_primitives(document, binary, path))
    if not found and _NAME not in document.get("extensionsUsed", ()):
        raise InputError(f"{path}: expected Gaussians ({_NAME}), found none")
    terms = max((g.sh.shape[2] for g in found), default=1)

    def joined(name: str, *shape: int) -> Tensor:
        return torch.cat([torch.zeros(1, 0, *shape), *(getattr(g, name) for g in found)], dim=1)

    found = [replace(g, sh=torch.nn.functional.pad(g.sh, (0, 0, 0, terms - g.sh.shape[2]))) for g in found]
    whole = Gaussians(
        means=joined("means", 3),
        quats=joined("quats", 4),
        scales=joined("scales", 3),
        opacities=joined("opacities"),
        sh=joined("sh", terms, 3),
    ).marked(any(g.antialiased for g in found))
    return turn_gaussians(whole, AXES_FLIP[None]) if world == "y_down" else whole


def _sh_names(degree: int) -> list[str]:
    return [f"{_NAME}:SH_DEGREE_{l}_COEF_{m}" for l in range(degree + 1) for m in range(2 * l + 1)]


def _primitives(document: dict, binary: bytes, path: Path | str) -> Iterator[Gaussians]:
    """The Gaussians of every node, in the world of the scene."""
    scenes = document.get("scenes", [])
    nodes = scenes[document.get("scene", 0)].get("nodes", []) if scenes else []
    stack = [(node, np.eye(4)) for node in nodes]
    passed = 0
    while stack:
        index, above = stack.pop()
        if (passed := passed + 1) > len(document["nodes"]):
            raise InputError(f"{path}: expected a tree of nodes, found one under two others or itself")
        node = document["nodes"][index]
        to_world = above @ _node_matrix(node)
        stack += [(child, to_world) for child in node.get("children", [])]
        if "mesh" not in node:
            continue
        for primitive in document["meshes"][node["mesh"]]["primitives"]:
            facts = primitive.get("extensions", {}).get(_NAME)
            if facts is not None:
                yield _carried(_gaussians(document, binary, primitive, facts, path), to_world, path)


def _gaussians(document: dict, binary: bytes, primitive: dict, facts: dict, path: Path | str) -> Gaussians:
    if facts.get("extensions"):
        raise InputError(f"{path}: expected Gaussians in full, found {', '.join(facts['extensions'])}")
    if (space := facts.get("colorSpace", COLOUR_SPACE)) != COLOUR_SPACE:
        say(f"{path}: colours are in {space}; they are used as if they were in {COLOUR_SPACE}")
    attributes = primitive["attributes"]

    def column(name: str) -> Float[Tensor, "1 N c"]:
        if name not in attributes:
            raise InputError(f"{path}: expected an attribute {name}, found none")
        return torch.from_numpy(_accessor(document, binary, attributes[name], path))[None]

    degree = max(l for l in range(4) if l == 0 or f"{_NAME}:SH_DEGREE_{l}_COEF_0" in attributes)
    return Gaussians(
        means=column("POSITION"),
        quats=wxyz_from_xyzw(column(f"{_NAME}:ROTATION")),
        scales=column(f"{_NAME}:SCALE"),
        opacities=column(f"{_NAME}:OPACITY")[..., 0],
        sh=torch.stack([column(name) for name in _sh_names(degree)], dim=2),
    ).marked(bool(primitive.get("extras", {}).get("antialiased", False)))


def _accessor(document: dict, binary: bytes, index: int, path: Path | str) -> Float[np.ndarray, "N c"]:
    """An accessor's numbers as floats; normalised integers as glTF defines them."""
    accessor = document["accessors"][index]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise InputError(f"{path}: expected plain accessors, found a sparse or empty one")
    view = document["bufferViews"][accessor["bufferView"]]
    if document["buffers"][view["buffer"]].get("uri") or view["buffer"]:
        raise InputError(f"{path}: expected all numbers inside the .glb, found another buffer")
    dtype = np.dtype(_TYPES[accessor["componentType"]])
    width, count = _WIDTHS[accessor["type"]], accessor["count"]
    require_count(count, path)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", dtype.itemsize * width)
    if count and start + (count - 1) * stride + dtype.itemsize * width > len(binary):
        raise InputError(f"{path}: expected {count} Gaussians, the file is too short for them")
    strides = (stride, dtype.itemsize)
    values = np.ndarray((count, width), dtype, binary, start, strides).astype(np.float32)
    if accessor.get("normalized"):
        values = np.maximum(values / np.iinfo(dtype).max, -1)
    return values


def _node_matrix(node: dict) -> Float[np.ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # column-major in the file
    out = np.eye(4)
    rotation = torch.tensor(_numbers(node, "rotation", (0, 0, 0, 1)), dtype=torch.float64)
    out[:3, :3] = matrix_from_quat_xyzw(rotation).numpy() * np.array(_numbers(node, "scale", (1, 1, 1)))
    out[:3, 3] = _numbers(node, "translation", (0, 0, 0))
    return out


def _numbers(node: dict, key: str, default: Sequence[float]) -> list[float]:
    return [float(value) for value in node.get(key, default)]


def _carried(gaussians: Gaussians, to_world: Float[np.ndarray, "4 4"], path: Path | str) -> Gaussians:
    if np.array_equal(to_world, np.eye(4)):
        return gaussians
    linear = to_world[:3, :3]
    volume = float(np.linalg.det(linear))
    scale = math.cbrt(volume) if volume > 0 else 0.0
    if not scale or np.abs(linear @ linear.T - scale**2 * np.eye(3)).max() > 1e-4 * scale**2:
        raise InputError(f"{path}: expected nodes that turn, move and scale evenly, got {linear.tolist()}")
    similarity = Similarity(
        scale=torch.tensor([scale]),
        rotation=torch.from_numpy(linear / scale).float()[None],
        translation=torch.from_numpy(to_world[:3, 3]).float()[None],
    )
    return transform_gaussians(gaussians, similarity)

"""GLB (binary glTF 2.0) with a coloured point cloud and, if wanted, the cameras as wire frusta.

Coordinates are stored as they are given, and one root node turns them half around x: glTF's world is y up,
ours y down. So viewers show the scene upright and the numbers stay those of the other files.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from geometry.atomic import atomic_file
from geometry.errors import InputError, reading
from geometry.ops import se3

_FLOAT, _USHORT, _VERTICES = 5126, 5123, 34962  # glTF's numbers for component types and the kind of a buffer
_POINTS, _LINES = 0, 1  # primitive modes
_STEPS = np.arange(256) / 255
_LINEAR = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4)  # of sRGB bytes


def write_glb(
    path: Path | str,
    points: Float[np.ndarray, "N 3"],
    colours: UInt8[np.ndarray, "N 3"],
    extrinsics: Float[np.ndarray, "V 4 4"] | None = None,
    intrinsics: Float[np.ndarray, "V 3 3"] | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Write a point cloud, and with the three camera arguments a frustum per camera.

    Args:
        colours: sRGB bytes, stored linear, as glTF requires, in 16 bits so that dark ones keep their steps.
        extrinsics: world-to-camera.
        image_sizes: (H, W) of each camera.
    """
    parts = [("points", _POINTS, points, colours)] if len(points) else []
    if extrinsics is not None and len(extrinsics):
        lines = frustum_lines(extrinsics, intrinsics, image_sizes, frustum_depth(points))
        hues = _hues(len(lines)).repeat(lines.shape[1] * 2, axis=0)
        parts.append(("cameras", _LINES, lines.reshape(-1, 3), hues))
    meshes, accessors, views = [], [], []
    data: list[np.ndarray] = []
    for name, mode, places, srgb in parts:
        position = np.ascontiguousarray(places, dtype="<f4")
        if not np.isfinite(position).all():
            raise ValueError(f"{name}: expected finite coordinates, got some that are not")
        colour = np.full((len(srgb), 4), 65535, dtype="<u2")
        colour[:, :3] = np.round(_LINEAR * 65535)[srgb]
        bounds = {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
        attributes = {"POSITION": len(data), "COLOR_0": len(data) + 1}
        meshes.append({"name": name, "primitives": [{"attributes": attributes, "mode": mode, "material": 0}]})
        for array, kind in (
            (position, {"componentType": _FLOAT, "type": "VEC3", **bounds}),
            (colour, {"componentType": _USHORT, "type": "VEC4", "normalized": True}),
        ):
            # 12 and 8 bytes an element: views start and end at multiples of 4, as the format requires.
            place = {"byteOffset": sum(a.nbytes for a in data), "byteLength": array.nbytes}
            accessors.append({"bufferView": len(data), "count": len(array), **kind})
            views.append({"buffer": 0, **place, "target": _VERTICES})
            data.append(array)
    turned = {"rotation": [1.0, 0.0, 0.0, 0.0]}  # xyzw: half a turn around x
    children = {"children": list(range(1, len(meshes) + 1))} if meshes else {}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "world", **children, **turned},
            *({"name": m["name"], "mesh": i} for i, m in enumerate(meshes)),
        ],
        # Points and lines have no normals: shown in their own colour, not lit.
        "materials": [{"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {}}],
        "extensionsUsed": ["KHR_materials_unlit"],
    }
    if meshes:
        document |= {"meshes": meshes, "accessors": accessors, "bufferViews": views}
        document["buffers"] = [{"byteLength": sum(array.nbytes for array in data)}]
    write_container(path, document, data)


def write_container(path: Path | str, document: dict, data: Sequence[np.ndarray]) -> None:
    """Write glTF's binary form: a JSON document and one buffer of arrays, each a multiple of 4 bytes."""
    size = sum(array.nbytes for array in data)
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        length = 12 + 8 + len(text) + (8 + size if size else 0)
        file.write(struct.pack("<4sIII4s", b"glTF", 2, length, len(text), b"JSON") + text)
        if size:
            file.write(struct.pack("<I4s", size, b"BIN\0"))
            file.writelines(array.data for array in data)


def read_container(path: Path | str) -> tuple[dict, bytes]:
    """The JSON document and the buffer of a .glb.

    Raises:
        InputError: no such file, or not of this form.
    """
    with reading(path, "a .glb file"):
        data = Path(path).read_bytes()
    if len(data) < 20 or data[:4] != b"glTF":
        raise InputError(f"{path}: expected a .glb file, it does not start with 'glTF'")
    length = int.from_bytes(data[12:16], "little")
    with reading(path, "JSON in the .glb"):
        document = json.loads(data[20 : 20 + length])
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a glTF document, got a {type(document).__name__}")
    return document, data[28 + length :]


def frustum_lines(
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    image_sizes: Sequence[tuple[int, int]],
    depth: float,
) -> Float[np.ndarray, "V 10 2 3"]:
    """Ends of line segments, world frame: four edges, the image's outline, and a roof that marks its top."""
    cam_to_world = se3.invert(torch.from_numpy(np.array(extrinsics, np.float64))).numpy()
    lines = []
    for pose, K, (H, W) in zip(cam_to_world, np.asarray(intrinsics, np.float64), image_sizes):
        pixels = np.array([[0, 0, 1], [W, 0, 1], [W, H, 1], [0, H, 1], [W / 2, -0.25 * H, 1]])
        corners = depth * pixels @ np.linalg.inv(K).T
        a, b, c, d, roof = corners @ pose[:3, :3].T + pose[:3, 3]
        eye = pose[:3, 3]
        edges = [(eye, a), (eye, b), (eye, c), (eye, d)]
        lines.append([*edges, (a, b), (b, c), (c, d), (d, a), (a, roof), (roof, b)])
    return np.array(lines)


def _hues(count: int) -> UInt8[np.ndarray, "V 3"]:
    """Colours around the colour circle, first red."""
    phase = np.arange(count)[:, None] / count - np.array([0.0, 1 / 3, 2 / 3])
    return np.round(255 * np.clip(2 - 6 * np.abs((phase + 0.5) % 1 - 0.5), 0, 1)).astype(np.uint8)


def frustum_depth(points: Float[np.ndarray, "N 3"]) -> float:
    """Length of frusta among points: 3 % of the diagonal of the box that holds their middle 90 %."""
    if len(points) == 0:
        return 0.1
    low, high = np.percentile(points[:: max(1, len(points) // 100_000)], (5, 95), axis=0)
    return 0.03 * float(np.linalg.norm(high - low)) or 0.1

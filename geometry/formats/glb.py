"""GLB (binary glTF 2.0) with a coloured point cloud and, if wanted, the cameras as wire frusta.

glTF's world is y up. Coordinates are stored as they are given; a scene whose world is y down gets one
root node that turns it half around x, so viewers show it upright and the numbers stay those of the other
files.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16

from geometry.atomic import atomic_file
from geometry.ops import se3

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _USHORT = 5126, 5123  # component types
_POINTS, _LINES = 0, 1  # primitive modes


def write_glb(
    path: Path | str,
    points: Float[np.ndarray, "N 3"],
    colours: UInt8[np.ndarray, "N 3"],
    *,
    extrinsics: Float[np.ndarray, "V 4 4"] | None = None,
    intrinsics: Float[np.ndarray, "V 3 3"] | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
    frustum_depth: float | None = None,
    world: Literal["y_down", "y_up"] = "y_down",
) -> None:
    """Write a point cloud, and with the three camera arguments a frustum per camera.

    Args:
        colours: sRGB bytes. They are stored linear, as glTF requires, in 16 bits so that dark
            ones keep their steps.
        extrinsics: world-to-camera.
        image_sizes: (H, W) of each camera.
        frustum_depth: length of the frusta; by default 3 % of the diagonal of the box that holds the
            middle 90 % of the points.
        world: axes of the coordinates given.
    """
    buffer = _Buffer()
    meshes = [buffer.mesh("points", points, colours, _POINTS)] if len(points) else []
    if extrinsics is not None and len(extrinsics):
        if intrinsics is None or image_sizes is None:
            raise ValueError(f"{path}: frusta need intrinsics and image sizes beside extrinsics")
        if frustum_depth is None:
            frustum_depth = _default_frustum_depth(points)
        lines = frustum_lines(extrinsics, intrinsics, image_sizes, frustum_depth)
        per_camera = lines.shape[1] * 2
        meshes.append(
            buffer.mesh("cameras", lines.reshape(-1, 3), np.repeat(_hues(len(lines)), per_camera, 0), _LINES)
        )
    children = list(range(1, len(meshes) + 1))
    root = {"name": "world", **({"children": children} if children else {})}
    if world == "y_down":
        root["rotation"] = [1.0, 0.0, 0.0, 0.0]  # xyzw: half a turn around x
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [root, *({"name": m["name"], "mesh": i} for i, m in enumerate(meshes))],
        # Points and lines have no normals: shown in their own colour, not lit.
        "materials": [{"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {}}],
        "extensionsUsed": ["KHR_materials_unlit"],
    }
    if meshes:
        document |= {"meshes": meshes, "accessors": buffer.accessors, "bufferViews": buffer.views}
        document["buffers"] = [{"byteLength": buffer.size}]
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + (8 + buffer.size if meshes else 0)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<III", _MAGIC, 2, length))
        file.write(struct.pack("<II", len(text), _JSON) + text)
        if meshes:
            file.write(struct.pack("<II", buffer.size, _BIN))
            for part in buffer.parts:
                file.write(part.tobytes())


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
        lines.append(
            [(eye, a), (eye, b), (eye, c), (eye, d), (a, b), (b, c), (c, d), (d, a), (a, roof), (roof, b)]
        )
    return np.array(lines)


class _Buffer:
    """The binary chunk and the tables that describe it."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.views: list[dict] = []
        self.accessors: list[dict] = []
        self.size = 0

    def mesh(self, name: str, points: np.ndarray, colours: np.ndarray, mode: int) -> dict:
        position = np.ascontiguousarray(points, dtype="<f4")
        if not np.isfinite(position).all():
            raise ValueError(f"{name}: expected finite coordinates, got some that are not")
        bounds = {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
        colour = np.full((len(points), 4), 65535, dtype="<u2")
        colour[:, :3] = _LINEAR[colours]
        attributes = {
            "POSITION": self._add(position, _FLOAT, "VEC3", bounds),
            "COLOR_0": self._add(colour, _USHORT, "VEC4", {"normalized": True}),
        }
        return {"name": name, "primitives": [{"attributes": attributes, "mode": mode, "material": 0}]}

    def _add(self, data: np.ndarray, component: int, kind: str, extra: dict) -> int:
        # 12 and 8 bytes an element: every view starts and ends at a multiple of 4, as the format requires.
        self.views.append({"buffer": 0, "byteOffset": self.size, "byteLength": data.nbytes, "target": 34962})
        self.accessors.append(
            {"bufferView": len(self.views) - 1, "componentType": component, "count": len(data), "type": kind}
            | extra
        )
        self.parts.append(data)
        self.size += data.nbytes
        return len(self.accessors) - 1


def _linear_from_srgb() -> UInt16[np.ndarray, "256"]:
    s = np.arange(256) / 255
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    return np.round(linear * 65535).astype("<u2")


_LINEAR = _linear_from_srgb()


def _hues(count: int) -> UInt8[np.ndarray, "V 3"]:
    """Colours around the colour circle, first red."""
    phase = np.arange(count)[:, None] / count - np.array([0.0, 1 / 3, 2 / 3])
    return np.round(255 * np.clip(2 - 6 * np.abs((phase + 0.5) % 1 - 0.5), 0, 1)).astype(np.uint8)


def _default_frustum_depth(points: np.ndarray) -> float:
    if len(points) == 0:
        return 0.1
    low, high = np.percentile(points[:: max(1, len(points) // 100_000)], (5, 95), axis=0)
    return 0.03 * float(np.linalg.norm(high - low)) or 0.1

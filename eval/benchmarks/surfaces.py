"""True surfaces as benchmarks store them: meshes and point clouds in PLY."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Int

from geometry.errors import InputError, reading
from geometry.formats.ply import read_elements
from geometry.metrics.surface import Cloud, sampled_mesh

_FACES = re.compile(
    rb"element face (\d+)\s+property list (?:uchar|uint8) (?:int|uint|int32|uint32) vertex_ind(?:ices|ex)\s+"
    rb"(?!property)"
)
_END = b"end_header\n"


def read_points(path: Path) -> Cloud:
    """The vertices of a binary PLY file."""
    with reading(path, "points as PLY"):
        vertices = read_elements(path)[0]["vertex"]
        points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not len(points):
        raise InputError(f"{path}: expected points, found none")
    return points


def read_mesh(path: Path, count: int = 1_000_000) -> Cloud:
    """``count`` points spread evenly over a mesh in binary PLY."""
    with reading(path, "a mesh of triangles as binary PLY"):
        return sampled_mesh(read_points(path), _triangles(path), count)


def _triangles(path: Path) -> Int[np.ndarray, "M 3"]:
    """Faces that follow the vertices: a count of 3 in a byte, then indices of 4."""
    data = path.read_bytes()
    header = data[: data.index(_END) + len(_END)]
    found = _FACES.search(header)
    if found is None:
        raise InputError(f"{path}: expected faces with vertex_indices and nothing else, found none")
    order = ">" if b"binary_big_endian" in header else "<"
    face = np.dtype([("count", "u1"), ("corners", f"{order}i4", 3)])
    faces = np.frombuffer(data, face, int(found[1]), len(header) + read_elements(path)[0]["vertex"].nbytes)
    if (faces["count"] != 3).any():
        raise InputError(f"{path}: expected triangles, found faces of other corners")
    return faces["corners"].astype(np.int64)

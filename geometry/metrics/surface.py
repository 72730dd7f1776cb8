"""Depth maps fused into one surface, and points spread over surfaces."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from geometry.errors import InputError

Cloud = Float[np.ndarray, "_ 3"]


def lifted_points(
    depth: Float[np.ndarray, "V H W"],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
) -> Cloud:
    """Every pixel of positive finite depth as a point of the world, view by view.

    Args:
        depth: along z; 0 where unknown.
        extrinsics: world-to-camera, OpenCV axes.
        intrinsics: pixels, first pixel centre at (0.5, 0.5).
    """
    clouds = []
    for z, E, K in zip(depth, extrinsics, intrinsics):
        y, x = np.nonzero(np.isfinite(z) & (z > 0))
        pixels = np.stack((x + 0.5, y + 0.5, np.ones(len(x))))
        camera = z[y, x] * (np.linalg.inv(K) @ pixels)
        clouds.append((E[:3, :3].T @ (camera - E[:3, 3:])).T)
    return np.concatenate(clouds)


def fused_points(
    depth: Float[np.ndarray, "V H W"],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    *,
    voxel: float,
    truncation: float,
    count: int = 1_000_000,
    seed: int = 42,
) -> Cloud:
    """Points spread evenly over the surface that a truncated signed distance field of all views has.

    Args:
        depth, extrinsics, intrinsics: as of `lifted_points`.
        voxel: side of a cell, and
        truncation: distance at which the field is cut off, in the units of depth.
        count: points drawn; none where there is no surface.

    Raises:
        InputError: Open3D is not there, or cannot be loaded.

    Source: Curless and Levoy 1996; Open3D's voxel blocks. DA3's released evaluation uses its older scalable
        volume, which leaves holes in Open3D 0.20.
    """
    o3d = open3d()
    single = o3d.core.float32
    volume = o3d.t.geometry.VoxelBlockGrid(
        attr_names=("tsdf", "weight"),
        attr_dtypes=(single, single),
        attr_channels=(1, 1),
        voxel_size=voxel,
        block_resolution=16,
        block_count=10_000,  # to begin with
    )
    for z, E, K in zip(depth, extrinsics, intrinsics):
        z = np.ascontiguousarray(np.where(np.isfinite(z) & (z > 0), z, 0), np.float32)
        if not z[::4, ::4].any():  # the pixels that Open3D finds blocks by
            continue
        K = np.asarray(K, np.float64) - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]  # Open3D's first centre is at 0
        shared = (
            o3d.t.geometry.Image(z),
            o3d.core.Tensor(K),
            o3d.core.Tensor(np.array(E, np.float64)),
            1.0,  # units of depth
            float(z.max()) + 1.0,
            truncation / voxel,
        )
        volume.integrate(volume.compute_unique_block_coordinates(*shared), *shared)
    try:
        mesh = volume.extract_triangle_mesh(0.0)  # of every voxel that a view saw
    except RuntimeError as error:  # no view, or no surface
        if "keys should > 0" in str(error) or "compatible with {None, 3}" in str(error):
            return np.zeros((0, 3))
        raise
    if "indices" not in mesh.triangle or "positions" not in mesh.vertex:
        return np.zeros((0, 3))
    vertices, triangles = mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy()
    return sampled_mesh(vertices, triangles, count, seed=seed)


def open3d() -> Any:
    """The module, or an `InputError` that says how to get it."""
    try:
        import open3d as module
    except (ImportError, OSError) as error:  # OSError: a system library is not there
        raise InputError(
            f"fusion of depth into a surface needs Open3D, which could not be loaded ({error}): pip install "
            "'feedforward-nvs[surface]', and where libusb is missing, apt install libusb-1.0-0; "
            "benchmark.reconstruction.fusion=points needs neither, but its numbers are others"
        ) from error
    return module


def sampled_mesh(
    vertices: Float[np.ndarray, "N 3"], triangles: Int[np.ndarray, "M 3"], count: int, *, seed: int = 42
) -> Cloud:
    """Points drawn evenly by area; none of a mesh without triangles."""
    if len(triangles) == 0:
        return np.zeros((0, 3))
    corners = np.asarray(vertices, np.float64)[triangles]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    rng = np.random.default_rng(seed)
    chosen = np.searchsorted(area, rng.random(count) * area[-1]).clip(max=len(area) - 1)
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)  # even over the triangle
    return (1 - root) * a[chosen] + root * (1 - v) * b[chosen] + root * v * c[chosen]

"""Pictures, depth and masks of a world, rendered on the CPU."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry.ops import se3
from geometry.tensors import TensorRecord
from geometry.views import Cameras
from geometry.worlds import columns as at
from geometry.worlds import kernel
from geometry.worlds.photometry import develop
from geometry.worlds.world import World

ROWS_PER_TASK = 16


@dataclass(frozen=True, kw_only=True)
class WorldViews(TensorRecord):
    """What `render` gives: pictures with their exact geometry."""

    rgb: Float[Tensor, "B V 3 H W"]  # sRGB in 0..1, exposed as the world says
    radiance: Float[Tensor, "B V 3 H W"]  # linear light, unbounded
    depth: Float[Tensor, "B V H W"]  # z of the surface on the ray through the pixel's centre; 0 in the sky
    sky: Bool[Tensor, "B V H W"]
    objects: Bool[Tensor, "B V H W"]
    normals: Float[Tensor, "B V H W 3"]  # geometric, unit, world axes, towards the camera; 0 in the sky
    index: Int[Tensor, "B V H W"]  # primitive seen, -1 in the sky


def render(
    world: World,
    cameras: Cameras,
    image_size: tuple[int, int],
    *,
    smooth: bool = True,
    threads: int | None = None,
) -> WorldViews:
    """Render views of one world (B = 1).

    Args:
        image_size: (H, W) to which the intrinsics refer.
        smooth: average more rays at edges; depth and masks belong to the pixel's centre either way.
        threads: torch's own number by default, so that a loader's worker takes one.

    Raises:
        ValueError: cameras of more than one world.
    """
    if cameras.extrinsics.shape[0] != 1:
        raise ValueError(
            f"render takes the cameras of one world, got a batch of {cameras.extrinsics.shape[0]}"
        )
    origins, maps = _pinholes(cameras)
    radiance, depth, index, normals = _trace(
        world, origins, maps, image_size, smooth, threads or torch.get_num_threads()
    )
    sky = index < 0
    objects = world.foreground[index.clamp(min=0).long()] & ~sky
    rgb = develop(radiance, exposure=world.air[at.EXPOSURE].to(radiance))
    return WorldViews(
        rgb=rgb[None],
        radiance=radiance[None],
        depth=depth[None],
        sky=sky[None],
        objects=objects[None],
        normals=normals[None],
        index=index[None],
    )


def _pinholes(cameras: Cameras) -> tuple[Float[Tensor, "V 3"], Float[Tensor, "V 3 3"]]:
    """Centres, and maps from pixels (x, y, 1) to world directions with z = 1 in the camera, float64."""
    cam_to_world = se3.invert(cameras.extrinsics[0].double())
    return cam_to_world[:, :3, 3], cam_to_world[:, :3, :3] @ cameras.intrinsics[0].double().inverse()


def _trace(
    world: World, origins: Tensor, maps: Tensor, image_size: tuple[int, int], smooth: bool, threads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (H, W), V = image_size, len(origins)
    arrays = kernel.arrays_of(world)
    size = world.texture_size
    radiance = torch.empty(V, 3, H, W)
    smoothed = torch.empty(V, 3, H, W)
    depth = torch.empty(V, H, W)
    index = torch.empty(V, H, W, dtype=torch.int32)
    visible = torch.empty(V, H, W, dtype=torch.int32)
    normals = torch.empty(V, H, W, 3)

    def views(*tensors: Tensor) -> list[list]:
        return [[t[v].numpy() for t in tensors] for v in range(V)]

    origin, to_world = origins.numpy(), maps.numpy()
    first_pass = views(radiance, depth, index, normals, visible)
    second_pass = views(radiance, index, normals, visible, smoothed)
    tasks = [(v, r, min(r + ROWS_PER_TASK, H)) for v in range(V) for r in range(0, H, ROWS_PER_TASK)]

    def trace_rows(task: tuple[int, int, int]) -> None:
        v, first, last = task
        kernel.render_rows(arrays, size, origin[v], to_world[v], first, last, *first_pass[v])

    def smooth_rows(task: tuple[int, int, int]) -> None:
        v, first, last = task
        kernel.smooth_rows(arrays, size, origin[v], to_world[v], first, last, *second_pass[v])

    passes = (trace_rows, smooth_rows) if smooth else (trace_rows,)
    if threads == 1:
        for one_pass in passes:
            for task in tasks:
                one_pass(task)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for one_pass in passes:
                list(pool.map(one_pass, tasks))
    return smoothed if smooth else radiance, depth, index, normals

"""Pictures, depth and masks of a world, rendered on the CPU."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

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
    # From pixels (x, y, 1) to world directions with z = 1 in the camera, in float64.
    cam_to_world = se3.invert(cameras.extrinsics[0].double())
    to_world = (cam_to_world[:, :3, :3] @ cameras.intrinsics[0].double().inverse()).numpy()
    origin, arrays = cam_to_world[:, :3, 3].numpy(), kernel.arrays_of(world)
    (H, W), V = image_size, len(to_world)
    radiance, smoothed, normals = torch.empty(V, 3, H, W), torch.empty(V, 3, H, W), torch.empty(V, H, W, 3)
    depth, (index, lights) = torch.empty(V, H, W), torch.empty(2, V, H, W, dtype=torch.int32)

    def by_rows(compiled: Callable[..., None], *maps: Tensor) -> None:
        def run(task: tuple[int, int]) -> None:
            v, first = task
            rows = first, min(first + ROWS_PER_TASK, H)
            of_view = (m[v].numpy() for m in maps)
            compiled(arrays, size, origin[v], to_world[v], *rows, *of_view)

        tasks = product(range(V), range(0, H, ROWS_PER_TASK))
        if threads == 1:
            list(map(run, tasks))
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, tasks))

    threads, size = threads or torch.get_num_threads(), world.texture_size
    by_rows(kernel.render_rows, radiance, depth, index, normals, lights)
    if smooth:
        by_rows(kernel.smooth_rows, radiance, index, normals, lights, smoothed)
        radiance = smoothed
    sky = index < 0
    views = {
        "rgb": develop(radiance, exposure=world.air[at.EXPOSURE].to(radiance)),
        "radiance": radiance,
        "depth": depth,
        "sky": sky,
        "objects": world.foreground[index.clamp(min=0).long()] & ~sky,
        "normals": normals,
        "index": index,
    }
    return WorldViews(**{name: value[None] for name, value in views.items()})

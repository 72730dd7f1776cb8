"""How a world looks to compiled code, and how that code is compiled."""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from geometry.compiled import OPTIONS
from geometry.worlds.world import World

INF = np.inf

_options = {**OPTIONS, "fastmath": {*OPTIONS["fastmath"], "reassoc"}}
compiled = njit(**_options)
inlined = njit(forceinline=True, **_options)


class Arrays(NamedTuple):
    """Fields of `World` in the form that compiled code takes.

    What belongs to one primitive is one row: few arrays make cheap calls, and no compiled function takes a
    view of a row, since every view counts references, over which threads would wait for each other.
    """

    primitives: NDArray  # [N, 74] float32
    node_box: NDArray
    node_child: NDArray
    materials: NDArray
    textures: NDArray
    noise: NDArray
    heights: NDArray
    sky: NDArray
    lights: NDArray
    occluders: NDArray
    air: NDArray


def arrays_of(world: World) -> Arrays:
    """The world's tensors, which must be on the CPU, as compiled code takes them."""
    scalars = torch.stack((world.kind, world.material, world.casts_shadow), 1).float()
    placed = (world.centre, world.rotation.flatten(1), world.half_size)
    columns = (*placed, world.uv, world.tint, scalars, world.shape)
    rest = (getattr(world, name).numpy() for name in Arrays._fields[1:])
    return Arrays(torch.cat(columns, 1).contiguous().numpy(), *rest)

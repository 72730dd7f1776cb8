"""A world as one set of tensors.

World axes: x and y on the ground, z up; units are metres. A primitive lives in its own rigid frame,
``local = rotation @ (world - centre)``, in metres; ``half_size`` scales the unit shapes there.

Letters: N primitives, M materials, L lights, K occluders, G height-map cells, T texels of a mip pyramid.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from geometry.tensors import TensorRecord


class Shape(IntEnum):
    """Kinds of primitives; ``World.shape`` holds what each needs besides ``half_size``."""

    BOX = 0
    ELLIPSOID = 1
    FRUSTUM = 2  # axis z; shape = (top radius over bottom radius, 1 if it has no caps)
    POLYTOPE = 3  # unit half-spaces n.p <= d; shape = (count, then n_x, n_y, n_z, d of each)
    TORUS = 4  # axis z, half_size bounds it; shape = (ring radius, tube radius)
    ROUND_BOX = 5  # shape = (rounding radius,)
    BLOB = 6  # smooth union of spheres; shape = (count, blend, then x, y, z, radius of each)
    HEIGHT = 7  # a sheet z = height(x, y); shape = (height map, slope bound)


MAX_PLANES = 12
MAX_BALLS = 6
SHAPE_VALUES = 1 + 4 * MAX_PLANES

MACRO_SCALE = 0.137  # tiles of the shared noise per tile of the texture: slow variation ...
DETAIL_SCALE = 7.3  # ... and fine grain
# Square root of linear red, green, blue; bump slopes along u and v; gloss mask; two of padding, since eight
# bytes are read at once.
TEXTURE_CHANNELS = 8


@dataclass(frozen=True, kw_only=True)
class World(TensorRecord):
    """Primitives, materials, lights and sky of one world, with where cameras may stand and look."""

    name: str  # the kind of world: "room", "objects", ...
    seed: int

    kind: Int[Tensor, " N"]  # `Shape`
    material: Int[Tensor, " N"]
    foreground: Bool[Tensor, " N"]  # counts as an object in the object mask
    casts_shadow: Bool[Tensor, " N"]
    centre: Float[Tensor, "N 3"]
    rotation: Float[Tensor, "N 3 3"]  # world to local
    half_size: Float[Tensor, "N 3"]
    uv: Float[Tensor, "N 4"]  # rotation (cosine, sine) and offset of the texture, in metres
    tint: Float[Tensor, "N 3"]  # linear colour that multiplies the texture
    shape: Float[Tensor, "N 49"]

    node_box: Float[Tensor, "nodes 6"]  # bounding volume hierarchy: low corner, high corner
    node_child: Int[Tensor, "nodes 2"]  # children, or (-1 - primitive, 0) at a leaf

    materials: Float[Tensor, "M 8"]  # see `columns`, also for lights and air
    textures: UInt8[Tensor, "M T 8"]  # mip pyramids, finest level first
    noise: UInt8[Tensor, " T"]  # shared mip pyramid of fine and slow variation
    heights: Float[Tensor, "maps G G"]  # metres in a sheet's local frame, rows along y

    sky: UInt8[Tensor, "sky_h sky_w 3"]  # square root of linear colour; top row is the zenith
    lights: Float[Tensor, "L 8"]
    occluders: Float[Tensor, "K 5"]  # spheres (centre, radius, primitive) that darken what is near them
    air: Float[Tensor, " 12"]  # ambient light above and below, fog, exposure

    stand: Float[Tensor, "2 3"]  # box in which camera centres are drawn: low and high corner
    focus: Float[Tensor, "points 3"]  # what cameras look at
    near: float  # nearest distance that a camera may have to a surface

    @property
    def texture_size(self) -> int:
        """Texels on a side of the finest level."""
        return math.isqrt((3 * self.textures.shape[1] + 1) // 4)  # all levels have (4 S^2 - 1) / 3

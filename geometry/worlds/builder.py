"""Collects primitives, materials and lights of one world and packs them into a `World`."""

import math
from collections.abc import Sequence
from functools import partialmethod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geometry.worlds import columns as at
from geometry.worlds import patterns, textures
from geometry.worlds.hierarchy import build_hierarchy
from geometry.worlds.skies import Sky, make_sky
from geometry.worlds.world import MAX_BALLS, MAX_PLANES, SHAPE_VALUES, Shape, World

Vector = Sequence[float] | NDArray
HEIGHT_CELLS = 192
_COLUMNS = dict.fromkeys(("kind", "material"), torch.int32)
_COLUMNS |= dict.fromkeys(("foreground", "casts_shadow"), torch.bool)
_COLUMNS |= dict.fromkeys(("centre", "rotation", "half_size", "uv", "tint", "shape"), torch.float32)


def turn(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> NDArray:
    """Local-to-world rotation: about x by roll, then about y by pitch, then about z by yaw (radians)."""
    c, s = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[c[0], -s[0], 0], [s[0], c[0], 0], [0, 0, 1]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_x = np.array([[1, 0, 0], [0, c[2], -s[2]], [0, s[2], c[2]]])
    return about_z @ about_y @ about_x


def polar(away: float, angle: float, z: float = 0.0) -> tuple[float, float, float]:
    """The point at a distance from the origin's vertical, in a direction."""
    return away * np.cos(angle), away * np.sin(angle), z


def random_turn(rng: np.random.Generator) -> NDArray:
    """Uniform rotation."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


class Stage(NamedTuple):
    """What a layout tells the camera sampler."""

    stand: NDArray  # [2, 3] low and high corner of where camera centres are drawn
    focus: NDArray  # [n, 3] points worth looking at
    near: float  # nearest distance to a surface


class Builder:
    """A world under construction; every random choice comes from ``rng``.

    Args:
        texture_size: texels on a side of one material's tile, a power of two.
    """

    def __init__(self, rng: np.random.Generator, texture_size: int):
        self.rng = rng
        self.texture_size = texture_size
        self.sky: Sky = make_sky(rng)
        self.ambient = rng.uniform(0.5, 1.1)  # share of the sky's light that reaches surfaces
        self.sunny = 1.0
        self.occlusion = rng.uniform(0.5, 0.9)
        self.fog_density = 0.0
        self._primitives: list[dict] = []
        self._materials: list[NDArray] = []
        self._textures: list[NDArray] = []
        self._heights: list[NDArray] = []
        self._lights: list[NDArray] = []

    # -- random numbers -------------------------------------------------------------------------

    def pick(self, materials: list[int]) -> int:
        return int(materials[self.rng.integers(len(materials))])

    def times(self, low: int, high: int) -> range:
        """To repeat something a random number of times, below ``high``."""
        return range(int(self.rng.integers(low, high)))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.rng.uniform(math.log(low), math.log(high)))

    # -- materials ------------------------------------------------------------------------------

    def material(
        self,
        pattern: str | None = None,
        *,
        scale: float | None = None,
        colours: NDArray | None = None,
        emission: float = 0.0,
        mirror: float | None = None,
    ) -> int:
        """Bake a new material and return its number; ``scale`` is in texture tiles per metre."""
        rng = self.rng
        colour, height, gloss_mask = textures.compose(rng, self.texture_size, pattern, colours)
        self._textures.append(textures.bake(colour, height, gloss_mask))
        scale = self.log_uniform(0.4, 2.5) if scale is None else scale
        shiny = rng.random()
        specular = 0.0 if shiny < 0.45 else rng.uniform(0.05, 0.9)
        gloss = self.log_uniform(6, 200)
        bump = rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.2)], p=[0.35, 0.4, 0.25])
        macro = rng.uniform(0.0, 0.5)
        detail = rng.choice([0.0, rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6)], p=[0.15, 0.5, 0.35])
        if mirror is None:
            mirror = rng.uniform(0.1, 0.6) if shiny > 0.88 else 0.0
        # In the order of `columns`.
        row = [scale, specular, gloss, emission, bump, macro, detail, mirror]
        self._materials.append(np.array(row, np.float32))
        return len(self._materials) - 1

    def materials(self, count: int) -> list[int]:
        return [self.material() for _ in range(count)]

    def glowing(self, strength: float) -> int:
        """A nearly plain material that shines."""
        colours = 0.6 + 0.4 * textures.palette(self.rng, 2, 0.2)
        return self.material("gradient", colours=colours, emission=strength, mirror=0.0)

    # -- primitives -----------------------------------------------------------------------------

    def add(
        self,
        kind: Shape,
        centre: Vector,
        half_size: Vector,
        material: int,
        *,
        rotation: NDArray | None = None,
        shape: Vector = (),
        foreground: bool = True,
        casts_shadow: bool = True,
        occludes: bool = False,
        tint: Vector | None = None,
        uv: Vector | None = None,
    ) -> None:
        """Add one primitive.

        Args:
            rotation: local-to-world; identity by default.
            occludes: darkens what is near it, as if it were a sphere.
            tint: linear colour times the texture; slight random variation by default.
            uv: cosine, sine and offset (metres) of the texture; random by default.
        """
        rng = self.rng
        values = np.zeros(SHAPE_VALUES, np.float32)
        values[: len(shape)] = shape
        if uv is None:
            angle = rng.choice([0, 0.5 * np.pi, rng.uniform(0, 2 * np.pi)], p=[0.5, 0.2, 0.3])
            uv = (math.cos(angle), math.sin(angle), rng.uniform(-9, 9), rng.uniform(-9, 9))
        if tint is None:
            tint = rng.uniform(0.75, 1.1) * rng.uniform(0.92, 1.08, 3)
        self._primitives.append(
            {
                "kind": int(kind),
                "material": material,
                "foreground": foreground,
                "casts_shadow": casts_shadow,
                "centre": np.asarray(centre, np.float64),
                "rotation": (np.eye(3) if rotation is None else rotation).T,
                "half_size": np.maximum(np.asarray(half_size, np.float64), 1e-4),
                "uv": np.asarray(uv, np.float32),
                "tint": np.asarray(tint, np.float32),
                "shape": values,
                "occludes": occludes,
            }
        )

    box = partialmethod(add, Shape.BOX)
    ellipsoid = partialmethod(add, Shape.ELLIPSOID)

    def round_box(self, centre: Vector, half_size: Vector, material: int, radius: float, **options) -> None:
        radius = min(radius, 0.98 * min(half_size))
        self.add(Shape.ROUND_BOX, centre, half_size, material, shape=(radius,), **options)

    def frustum(self, *where, top: float = 1.0, hollow: bool = False, **options) -> None:
        """Cylinder (top 1), cone (top 0) or between, along local z; ``top`` at most 1."""
        self.add(Shape.FRUSTUM, *where, shape=(top, float(hollow)), **options)

    def torus(self, centre: Vector, ring: float, tube: float, material: int, **options) -> None:
        half = (ring + tube, ring + tube, tube)
        self.add(Shape.TORUS, centre, half, material, shape=(ring, tube), **options)

    def polytope(self, centre: Vector, half_size: Vector, planes: NDArray, material: int, **options) -> None:
        """Convex solid: half-spaces [n, 4] (unit normal, offset); its corners must lie in the cube of +-1."""
        planes = np.asarray(planes, np.float64)[:MAX_PLANES]
        self.add(Shape.POLYTOPE, centre, half_size, material, shape=(len(planes), *planes.ravel()), **options)

    def rock(self, centre: Vector, half_size: Vector, material: int, **options) -> None:
        """A polytope of random faces, closed by the six faces of its box."""
        rng = self.rng
        normals = rng.standard_normal((MAX_PLANES - 6, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = rng.uniform(0.55, 0.95, (MAX_PLANES - 6, 1))
        box = np.concatenate((np.eye(3), -np.eye(3)))
        planes = np.concatenate((np.c_[normals, offsets], np.c_[box, rng.uniform(0.75, 1.0, 6)]))
        self.polytope(centre, half_size, planes, material, **options)

    def prism(
        self, centre: Vector, half_size: Vector, sides: int, material: int, top: float = 1.0, **options
    ) -> None:
        """Upright prism (top 1) or pyramid (top 0) over a regular polygon."""
        angle = np.arange(sides) * 2 * np.pi / sides
        inner = math.cos(math.pi / sides)
        lean = 0.5 * (1 - top) * inner
        normals = np.stack((np.cos(angle), np.sin(angle), np.full(sides, lean)), -1)
        planes = np.c_[normals, np.full(sides, 0.5 * (1 + top) * inner)]
        planes = np.concatenate((planes, [[0, 0, 1, 1], [0, 0, -1, 1]]))
        self.polytope(centre, half_size, planes, material, **options)

    def roof(self, centre: Vector, half_size: Vector, material: int, **options) -> None:
        """Gable along local x: a ridge over a rectangle."""
        planes = [[1, 0, 0, 1], [-1, 0, 0, 1], [0, 0, -1, 1], [0, 1, 0.5, 0.5], [0, -1, 0.5, 0.5]]
        self.polytope(centre, half_size, np.array(planes), material, **options)

    def blob(self, centre: Vector, radius: float, material: int, **options) -> None:
        """Smooth union of a few spheres within ``radius``."""
        rng = self.rng
        count = int(rng.integers(3, MAX_BALLS + 1))
        blend = rng.uniform(0.1, 0.4) * radius
        # Blending swells the union by a quarter of its width; the balls leave room for that.
        room = radius - 0.25 * blend * 2
        sizes = rng.uniform(0.25, 0.55, count) * room
        away = rng.standard_normal((count, 3))
        away *= ((room - sizes) * rng.uniform(0.4, 1.0, count) / np.linalg.norm(away, axis=1))[:, None]
        shape = (count, blend, *np.c_[away, sizes].ravel())
        self.add(Shape.BLOB, centre, (radius,) * 3, material, shape=shape, **options)

    def sheet(self, centre: Vector, half_size: Vector, heights: NDArray, material: int, **options) -> None:
        """Height field over local x and y; ``heights`` [G, G] in metres is cut to within half_size z."""
        limit = 0.999 * half_size[2]
        heights = np.clip(heights, -limit, limit).astype(np.float32)
        cell = 2 * np.asarray(half_size[:2]) / (HEIGHT_CELLS - 1)
        steepest = math.hypot(
            np.abs(np.diff(heights, axis=1)).max() / cell[0], np.abs(np.diff(heights, axis=0)).max() / cell[1]
        )
        self._heights.append(heights)
        shape = (len(self._heights) - 1, steepest + 1e-3)
        self.add(Shape.HEIGHT, centre, half_size, material, shape=shape, **options)

    def relief(self, amplitude: float, slope: float = 1.8) -> NDArray:
        """Random height map [G, G] of +- ``amplitude`` metres."""
        noise = patterns.spectral(self.rng, 256, slope=slope)[:HEIGHT_CELLS, :HEIGHT_CELLS]
        return (2 * noise - 1) * amplitude

    @property
    def count(self) -> int:
        """Primitives so far; what is added next begins at this number."""
        return len(self._primitives)

    def rest_on(self, first: int, height: float) -> None:
        """Move the primitives from number ``first`` on, each so that its box stands at ``height``."""
        for primitive in self._primitives[first:]:
            primitive["centre"] = primitive["centre"] + (0, 0, height - self._bounds(primitive)[2])

    def highest(self, first: int) -> float:
        """Top of the boxes of the primitives from number ``first`` on."""
        return max(self._bounds(primitive)[5] for primitive in self._primitives[first:])

    # -- light ----------------------------------------------------------------------------------

    def lamp(self, position: Vector, colour: Vector, radius: float = 0.3) -> None:
        """Point light of the given radiant intensity; ``radius`` bounds its brightness near by."""
        self._lights.append(np.array([at.LAMP, *position, *colour, radius], np.float32))

    def warm_white(self, strength: float) -> NDArray:
        """Colour of a drawn lamp: candle to cold white, at times coloured."""
        rng = self.rng
        warmth = rng.uniform(-0.15, 0.5)
        colour = np.array([1.0, 1 - 0.45 * warmth, 1 - 1.1 * max(warmth, 0) + 0.3 * max(-warmth, 0)])
        if rng.random() < 0.12:
            colour = colour * rng.uniform(0.3, 1.0, 3)
        return strength * np.clip(colour, 0.1, 1.2)

    # -- packing --------------------------------------------------------------------------------

    def finish(self, *, name: str, seed: int, stand: NDArray, focus: NDArray, near: float) -> World:
        """The world as tensors. ``stand`` [2, 3] bounds cameras, ``focus`` [n, 3] is what they look at."""
        sky, rng = self.sky, self.rng
        lights = list(self._lights)
        if self.sunny > 0 and sky.sun_colour.max() > 0:
            sun = [at.SUN, *sky.sun_direction, *(self.sunny * sky.sun_colour), 0]
            lights.append(np.array(sun, np.float32))
        fog = 0.5 * (sky.haze + sky.haze.mean())  # haze is paler than the sky behind it
        exposure = 1.0
        ambient = (*(self.ambient * sky.ambient_up), *(self.ambient * sky.ambient_down))
        air = np.array([*ambient, *fog, self.fog_density, exposure, self.occlusion], np.float32)  # `columns`

        boxes = np.stack([self._bounds(p) for p in self._primitives]).astype(np.float32)
        node_box, node_child = build_hierarchy(boxes)
        occluders = [
            (*p["centre"], float(np.cbrt(np.prod(p["half_size"]))), i)
            for i, p in enumerate(self._primitives)
            if p["occludes"]
        ]
        heights = self._heights or [np.zeros((HEIGHT_CELLS, HEIGHT_CELLS), np.float32)]
        return World(
            name=name,
            seed=seed,
            **{
                name: torch.as_tensor(np.stack([p[name] for p in self._primitives]), dtype=dtype)
                for name, dtype in _COLUMNS.items()
            },
            node_box=torch.from_numpy(node_box),
            node_child=torch.from_numpy(node_child),
            materials=torch.from_numpy(np.stack(self._materials)),
            textures=torch.from_numpy(np.stack(self._textures)),
            noise=torch.from_numpy(textures.shared_noise(rng, self.texture_size)),
            heights=torch.from_numpy(np.stack(heights)),
            sky=torch.from_numpy(sky.picture),
            lights=torch.from_numpy(np.stack(lights) if lights else np.zeros((0, 8), np.float32)),
            occluders=torch.tensor(occluders, dtype=torch.float32).reshape(-1, 5),
            air=torch.from_numpy(air),
            stand=torch.as_tensor(np.asarray(stand), dtype=torch.float32),
            focus=torch.as_tensor(np.asarray(focus), dtype=torch.float32).reshape(-1, 3),
            near=float(near),
        )

    @staticmethod
    def _bounds(primitive: dict) -> NDArray:
        """World box (low, high) around a primitive, a hair larger than it."""
        reach = np.abs(primitive["rotation"].T) @ primitive["half_size"] + 1e-4
        return np.concatenate((primitive["centre"] - reach, primitive["centre"] + reach))

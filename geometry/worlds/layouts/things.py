"""Pieces that layouts are furnished with: single shapes, furniture, lamps, trees, houses.

Each function adds primitives to a builder. Places are (x, y, z) of the middle of the piece's foot, metres.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from geometry.worlds.builder import HEIGHT_CELLS, Builder, Vector, random_turn, turn

Place = Vector  # x, y, z
CORNERS = tuple(product((-1, 1), (-1, 1)))


def turned(place: Place, yaw: float) -> tuple[NDArray, Callable[..., NDArray]]:
    """Axes of a piece, and the map from its own x, y, z to world points."""
    axes, foot = turn(yaw), np.array(place)
    return axes, lambda *local: foot + axes @ np.array(local)


def upright(axis: int, along: float, out: float, up: float) -> Place:
    """Lengths along a wall that runs along x (axis 0) or y (1), out of it, and up."""
    return (along, out, up) if axis == 0 else (out, along, up)


def random_shape(b: Builder, centre: NDArray, radius: float, material: int, *, free: bool = True) -> None:
    """Any one shape about as large as a sphere of ``radius``, turned freely or upright."""
    rng = b.rng
    rotation = random_turn(rng) if free else turn(rng.uniform(0, 2 * np.pi))
    options = {"rotation": rotation, "occludes": True}
    half = radius * rng.uniform(0.35, 1.0, 3)
    half *= radius / max(float(np.linalg.norm(half)), 1e-6)
    choice = rng.integers(12)
    if choice == 0:
        b.box(centre, half, material, **options)
    elif choice == 1:
        half = half if rng.random() < 0.6 else np.full(3, radius * 0.9)
        b.ellipsoid(centre, half, material, **options)
    elif choice in (2, 3):
        half[1] = half[0] * (1 if rng.random() < 0.7 else rng.uniform(0.5, 1))
        top = float(rng.choice([1.0, 0.0, rng.uniform(0.1, 0.9)], p=[0.5, 0.2, 0.3]))
        b.frustum(centre, half, material, top=top, hollow=rng.random() < 0.15, **options)
    elif choice in (4, 5):
        b.rock(centre, half * 1.1, material, **options)
    elif choice == 6:
        ring = radius * rng.uniform(0.5, 0.75)
        b.torus(centre, ring, min(radius - ring, radius * rng.uniform(0.1, 0.3)), material, rotation=rotation)
    elif choice in (7, 8):
        b.round_box(centre, half, material, min(half) * rng.uniform(0.15, 0.98), **options)
    elif choice == 9:
        b.blob(centre, radius, material, **options)
    elif choice == 10:
        sides, top = int(rng.integers(3, 9)), float(rng.choice([1, 0, rng.random()]))
        b.prism(centre, half, sides, material, top=top, **options)
    else:
        b.roof(centre, half, material, **options)


def standing_shape(b: Builder, place: Place, radius: float, material: int) -> None:
    """A shape resting on the ground (its box's bottom at the place's height)."""
    first = b.count
    random_shape(b, np.array(place), radius, material, free=b.rng.random() < 0.25)
    b.rest_on(first, place[2])


def table(b: Builder, place: Place, half: NDArray, top: int, legs: int, yaw: float) -> float:
    """A table; returns the height of its top."""
    rng = b.rng
    height, thick = half[2] * 2, rng.uniform(0.015, 0.04)
    axes, at = turned(place, yaw)
    column, board = at(0, 0, height / 2 - thick), at(0, 0, height - thick)
    if rng.random() < 0.25:
        b.frustum(board, (half[0], half[0], thick), top, rotation=axes)
        b.frustum(column, (0.06, 0.06, height / 2 - thick), legs)
        b.frustum(at(0, 0, 0.02), (half[0] * 0.5, half[0] * 0.5, 0.02), legs)
    else:
        b.box(board, (half[0], half[1], thick), top, rotation=axes)
        leg = rng.uniform(0.02, 0.05)
        for sx, sy in CORNERS:
            middle = at(sx * (half[0] - 1.5 * leg), sy * (half[1] - 1.5 * leg), height / 2 - thick)
            b.box(middle, (leg, leg, height / 2 - thick), legs, rotation=axes)
    return place[2] + height


def chair(b: Builder, place: Place, seat: int, legs: int, yaw: float) -> None:
    axes, at = turned(place, yaw)
    w, h = b.rng.uniform(0.19, 0.28), b.rng.uniform(0.4, 0.5)
    b.round_box(at(0, 0, h), (w, w, 0.03), seat, 0.02, rotation=axes)
    b.round_box(at(0, w - 0.02, h + 0.3), (w, 0.02, 0.26), seat, 0.015, rotation=axes)
    for sx, sy in CORNERS:
        b.frustum(at(sx * (w - 0.03), sy * (w - 0.03), h / 2), (0.018, 0.018, h / 2), legs)


def sofa(b: Builder, place: Place, cloth: int, yaw: float) -> None:
    rng = b.rng
    axes, at = turned(place, yaw)
    w, d, h = rng.uniform(0.5, 1.1), rng.uniform(0.38, 0.5), rng.uniform(0.2, 0.25)
    b.round_box(at(0, 0, h), (w, d, h), cloth, 0.08, rotation=axes)
    b.round_box(at(0, d - 0.1, h + 0.3), (w, 0.12, 0.4), cloth, 0.08, rotation=axes)
    for s in (-1, 1):
        b.round_box(at(s * (w - 0.09), 0, h + 0.15), (0.1, d, 0.28), cloth, 0.08, rotation=axes)
    for _ in b.times(0, 3):
        spot = at(rng.uniform(-0.6, 0.6) * w, rng.uniform(-0.1, 0.2), 2 * h + 0.17)
        b.round_box(spot, (0.2, 0.08, 0.2), b.material(), 0.075, rotation=turn(yaw, 0, -0.4))


def shelf(b: Builder, place: Place, half: NDArray, wood: int, contents: list[int], yaw: float) -> None:
    """A rack of boards with books and things; its back is towards local +y."""
    rng = b.rng
    axes, at = turned(place, yaw)
    boards = int(rng.integers(3, 6))
    for s in (-1, 1):
        b.box(at(s * half[0], 0, half[2]), (0.015, half[1], half[2]), wood, rotation=axes)
    if rng.random() < 0.6:
        b.box(at(0, half[1], half[2]), (half[0], 0.008, half[2]), wood, rotation=axes)
    gap = 2 * half[2] / boards
    for k in range(boards + 1):
        middle = at(0, 0, min(k * gap + 0.012, 2 * half[2]))
        b.box(middle, (half[0], half[1], 0.012), wood, rotation=axes)
    for k in range(boards):
        across = -half[0] + 0.03
        while across < half[0] - 0.12:
            if rng.random() < 0.75:
                wide, tall = rng.uniform(0.012, 0.04), gap * rng.uniform(0.3, 0.43)
                deep = half[1] * rng.uniform(0.6, 0.9)
                tint = rng.uniform(0.3, 1.1, 3)
                spot = at(across + wide, half[1] - deep - 0.01, k * gap + 0.024 + tall)
                b.box(spot, (wide, deep, tall), b.pick(contents), tint=tint, rotation=axes)
                across += 2 * wide + 0.002
            else:
                size = rng.uniform(0.04, min(0.4 * gap, 0.1))
                standing_shape(b, at(across + size, 0, k * gap + 0.024), size, b.pick(contents))
                across += 2.5 * size


def picture(b: Builder, centre: Place, half_width: float, half_height: float, yaw: float) -> None:
    """A framed picture or poster; its face looks along local -y."""
    rng = b.rng
    axes, at = turned(centre, yaw)
    pattern = rng.choice(["leaves", "glyphs", "contours", "clouds", None], p=[0.4, 0.2, 0.1, 0.1, 0.2])
    face = b.material(pattern, scale=0.5 / max(half_width, half_height), mirror=0.0)
    b.box(centre, (half_width, 0.008, half_height), face, rotation=axes, uv=(1, 0, 0, 0))
    if rng.random() < 0.7:
        frame, edge = b.material(), rng.uniform(0.012, 0.04)
        for s in (-1, 1):
            side, bar = at(s * (half_width + edge), 0, 0), at(0, 0, s * (half_height + edge))
            b.box(side, (edge, 0.018, half_height + 2 * edge), frame, rotation=axes)
            b.box(bar, (half_width, 0.018, edge), frame, rotation=axes)


def floor_lamp(b: Builder, place: Place, strength: float) -> None:
    rng = b.rng
    x, y, z = place
    height = rng.uniform(1.2, 1.8)
    metal = b.material("grain")
    b.frustum((x, y, z + height / 2), (0.015, 0.015, height / 2), metal)
    b.frustum((x, y, z + 0.015), (0.14, 0.14, 0.015), metal)
    shade, top = b.glowing(1.5), rng.uniform(0.5, 1)
    b.frustum((x, y, z + height), (0.2, 0.2, 0.14), shade, top=top, hollow=True, casts_shadow=False)
    b.lamp((x, y, z + height), b.warm_white(strength), 0.25)


def ceiling_lamp(b: Builder, place: Place, strength: float) -> None:
    rng = b.rng
    x, y, z = place
    radius = rng.uniform(0.08, 0.25)
    glow = b.glowing(2.5)
    if rng.random() < 0.5:
        drop = rng.uniform(0.2, 0.7)
        half = (0.008, 0.008, drop / 2)
        b.frustum((x, y, z - drop / 2), half, b.material(), casts_shadow=False)
        half = (radius, radius, radius * rng.uniform(0.6, 1))
        b.ellipsoid((x, y, z - drop), half, glow, casts_shadow=False)
        b.lamp((x, y, z - drop), b.warm_white(strength), 0.3)
    else:
        b.frustum((x, y, z - 0.04), (radius * 1.5, radius * 1.5, 0.04), glow, casts_shadow=False)
        b.lamp((x, y, z - 0.15), b.warm_white(strength), 0.3)


def tree(b: Builder, place: Place, height: float, bark: int, leaf: list[int]) -> None:
    """A trunk and a crown: a cone, a blob, or a cluster of ellipsoids."""
    rng = b.rng
    x, y, z = place
    trunk = height * rng.uniform(0.25, 0.5)
    thick = height * rng.uniform(0.02, 0.05)
    b.frustum((x, y, z + trunk / 2 - 0.1), (thick, thick, trunk / 2 + 0.1), bark, top=rng.uniform(0.5, 0.9))
    crown, style = height - trunk, rng.integers(3)
    material = b.pick(leaf)
    if style == 0:
        layers = int(rng.integers(1, 4))
        for k in range(layers):
            wide = height * rng.uniform(0.16, 0.24) * (1 - 0.25 * k)
            tall = crown / (layers + 1)
            b.frustum((x, y, z + trunk + tall * (k + 0.5)), (wide, wide, tall), material, top=0.0)
    elif style == 1:
        b.blob((x, y, z + trunk + 0.35 * crown), 0.5 * crown, material, rotation=random_turn(rng))
    else:
        for _ in b.times(3, 8):
            away = rng.standard_normal(3) * (0.16, 0.16, 0.14) * height
            half = height * rng.uniform(0.08, 0.2, 3)
            centre = (x + away[0], y + away[1], z + trunk + 0.4 * crown + away[2])
            b.ellipsoid(centre, half, material, rotation=random_turn(rng))


def house(b: Builder, place: Place, half: NDArray, wall: int, roof: int, trim: int, yaw: float) -> None:
    """A block with windows, a door and a gabled, flat or pyramid roof."""
    rng = b.rng
    axes, at = turned(place, yaw)
    x, y, z = place
    b.box((x, y, z + half[2] - 0.3), (half[0], half[1], half[2] + 0.3), wall, rotation=axes)
    over = rng.uniform(0.02, 0.4)
    style, rise = rng.integers(3), rng.uniform(0.3, 0.8) * half[1]
    ridge = at(0, 0, 2 * half[2] + rise)
    if style == 0:
        b.roof(ridge, (half[0] + over, half[1] + over, rise), roof, rotation=axes)
    elif style == 1:
        b.box(at(0, 0, 2 * half[2] + 0.1), (half[0] + over, half[1] + over, 0.12), roof, rotation=axes)
    else:
        r = math.sqrt(2) * (max(half[:2]) + over)
        b.prism(ridge, (r, r, rise), 4, roof, top=0.0, rotation=axes @ turn(np.pi / 4))
    floors, glass = max(int(half[2] / 1.4), 1), b.material(mirror=rng.uniform(0.2, 0.7))
    tall, wide, step = rng.uniform(0.45, 0.75), rng.uniform(0.3, 0.6), rng.uniform(1.8, 3.0)
    for axis in (0, 1):
        count = min(max(int(2 * half[axis] / step), 1), 5)
        for k, floor, s in product(range(count), range(min(floors, 3)), (-1, 1)):
            along = (k + 0.5) / count * 2 * half[axis] - half[axis]
            middle = (floor + 0.5) / floors * 2 * half[2]
            pane = at(*upright(axis, along, s * half[1 - axis], middle))
            b.box(pane, upright(axis, wide, 0.03, tall), glass, rotation=axes)
            if rng.random() < 0.7:
                below = at(*upright(axis, along, s * half[1 - axis], middle - tall - 0.05))
                b.box(below, upright(axis, wide + 0.1, 0.1, 0.05), trim, rotation=axes)
    b.box(at(rng.uniform(-0.5, 0.5) * half[0], -half[1], 1.0), (0.5, 0.05, 1.05), trim, rotation=axes)


def cloth(b: Builder, place: Place, half: float, rise: float, material: int, yaw: float) -> None:
    """A crumpled sheet on the ground: a rug, a blanket, sand."""
    heights = b.relief(rise * 0.5, slope=b.rng.uniform(1.4, 2.2)) + 0.5 * rise
    edge = np.linspace(-1, 1, HEIGHT_CELLS)
    fall = np.clip((1 - np.maximum(np.abs(edge)[:, None], np.abs(edge)[None])) * 8, 0, 1)
    x, y, z = place
    b.sheet((x, y, z + 0.004), (half, half, rise + 0.01), heights * fall, material, rotation=turn(yaw))


def pile(b: Builder, place: Place, spread: float, size: float, count: int, materials: list[int]) -> None:
    """A heap: shapes scattered on the ground, the later ones higher up near its middle."""
    rng = b.rng
    x, y, z = place
    for k in range(count):
        away = rng.standard_normal(2) * spread * 0.5
        radius = size * math.exp(rng.normal(0, 0.45))
        near = math.exp(-((np.linalg.norm(away) / spread) ** 2) * 4)
        lift = size * rng.uniform(0, 1.6) * (k / count) * near
        standing_shape(b, (x + away[0], y + away[1], z + lift), radius, b.pick(materials))

"""Objects to walk around: a group on the ground, a table close up, or shapes filling a space."""

import math
from itertools import product

import numpy as np

from geometry.worlds.builder import Builder, Stage, polar, random_turn, turn
from geometry.worlds.layouts import things


def _lamps(b: Builder, radius: float, count: int) -> None:
    """Lamps around and above, of studio strength for a scene of that radius."""
    rng = b.rng
    for _ in range(count):
        angle, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.4)
        away = np.array((np.cos(angle) * np.cos(up), np.sin(angle) * np.cos(up), np.sin(up)))
        distance = radius * rng.uniform(1.5, 3.0)
        b.lamp(away * distance, b.warm_white(distance**2 * rng.uniform(0.3, 1.2)), 0.2 * radius)


def build(b: Builder) -> Stage:
    """A group of objects on a patch of ground under the sky, as a person films it from around."""
    rng = b.rng
    size = b.log_uniform(0.25, 1.5)  # radius of the main object
    reach = size * rng.uniform(12, 30)
    ground = b.material(scale=rng.uniform(0.15, 0.8) / size)
    if rng.random() < 0.4:
        heights = b.relief(size * rng.uniform(0.05, 0.3), slope=rng.uniform(1.8, 2.5))
        b.sheet((0, 0, -0.15 * size), (reach, reach, size), heights, ground, foreground=False)
    else:
        b.box((0, 0, -0.5 * size), (reach, reach, 0.5 * size), ground, foreground=False)
    materials = [b.material(scale=rng.uniform(0.2, 1.5) / size) for _ in b.times(5, 11)]
    style = rng.integers(4)
    if style == 0:
        things.pile(b, (0, 0, 0), 2.5 * size, 0.45 * size, int(rng.integers(10, 40)), materials)
    elif style == 1:  # a tower
        z, first = 0.0, b.count
        for _ in b.times(2, 6):
            radius = size * rng.uniform(0.4, 0.8)
            place = (rng.normal(0, 0.1) * size, rng.normal(0, 0.1) * size, z)
            things.standing_shape(b, place, radius, b.pick(materials))
            z = b.highest(first) - 0.05 * size
    elif style == 2:  # one thing on a plinth
        tall = size * rng.uniform(0.2, 1.0)
        b.frustum((0, 0, tall / 2), (size, size, tall / 2), materials[0], top=rng.uniform(0.7, 1))
        for _ in b.times(2, 7):
            offset = rng.normal(0, 0.25, 3) * size + (0, 0, tall + 0.5 * size)
            things.random_shape(b, offset, size * rng.uniform(0.3, 0.7), b.pick(materials))
    else:  # a ring
        count = int(rng.integers(5, 12))
        for k in range(count):
            place = polar(2 * size, 2 * np.pi * k / count)
            things.standing_shape(b, place, size * rng.uniform(0.4, 0.9), b.pick(materials))
        things.standing_shape(b, (0, 0, 0), size, b.pick(materials))
    for _ in b.times(4, 25):  # what stands around
        angle, away = rng.uniform(0, 2 * np.pi), size * rng.uniform(3.5, 11)
        place = polar(away, angle)
        if rng.random() < 0.3:
            tall = size * rng.uniform(0.5, 3)
            half = (size * rng.uniform(0.1, 2), size * rng.uniform(0.1, 0.5), tall)
            b.box((*place[:2], tall), half, b.pick(materials), rotation=turn(angle + np.pi / 2))
        else:
            things.standing_shape(b, place, size * math.exp(rng.normal(-0.3, 0.6)), b.pick(materials))
    if rng.random() < 0.5:
        _lamps(b, size, int(rng.integers(1, 4)))
    stand = np.array(((-4.5, -4.5, 0.25), (4.5, 4.5, 3.5))) * size
    focus = rng.normal(0, 0.5, (8, 3)) * size * (1, 1, 0.5) + (0, 0, 0.7 * size)
    return Stage(stand, focus, 0.4 * size)


def build_tabletop(b: Builder) -> Stage:
    """Small things on a table seen from near, in a room reduced to two or three walls."""
    rng = b.rng
    top = b.material(rng.choice(["planks", "grain", "weave", None]), scale=rng.uniform(0.8, 3))
    height = 0.75
    b.box((0, 0, height - 0.02), (rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.7), 0.02), top, foreground=False)
    legs = b.material("grain")
    for sx, sy in things.CORNERS:
        b.box((0.4 * sx, 0.3 * sy, height / 2 - 0.02), (0.03, 0.03, height / 2 - 0.02), legs)
    b.box((0, 0, -0.1), (4, 4, 0.1), b.material(), foreground=False)
    for k in b.times(2, 5):
        angle = k * np.pi / 2
        away = rng.uniform(1.6, 3.0)
        wall = b.material(rng.choice(["clouds", None]))
        b.box(polar(away, angle, 1.4), (0.1, 4, 1.5), wall, rotation=turn(angle), foreground=False)
    materials = [b.material(scale=math.exp(rng.uniform(0.5, 2.3))) for _ in b.times(6, 12)]
    for _ in b.times(10, 40):
        away = np.clip(rng.normal(0, 0.18, 2), -0.4, 0.4)
        radius = b.log_uniform(0.02, 0.14)
        things.standing_shape(b, (*away, height), radius, b.pick(materials))
    if rng.random() < 0.35:
        things.cloth(b, (0, 0, height), 0.35, 0.05, b.material(scale=3.0), rng.uniform(0, 3))
    for _ in b.times(3, 12):  # the room behind
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 1.5)
        things.standing_shape(b, polar(away, angle), rng.uniform(0.2, 0.6), b.pick(materials))
    b.ambient *= rng.uniform(0.4, 0.9)
    for _ in b.times(1, 4):
        spot = rng.uniform((-1.2, -1.2, 1.6), (1.2, 1.2, 2.6))
        b.lamp(spot, b.warm_white(rng.uniform(0.6, 2.5)), 0.2)
    stand = np.array(((-0.95, -0.95, 0.85), (0.95, 0.95, 1.6)))
    focus = rng.normal(0, 0.12, (8, 3)) * (1, 1, 0.3) + (0, 0, height + 0.06)
    return Stage(stand, focus, 0.12)


def build_shapes(b: Builder) -> Stage:
    """Random shapes of all sizes in a box-shaped space: no meaning, all the variety."""
    rng = b.rng
    half = rng.uniform(2, 6, 3) * (1, 1, 0.7)
    scale = b.log_uniform(0.3, 3)  # the whole world may be small or large
    half = half * scale
    materials = [b.material(scale=math.exp(rng.normal(-0.3, 0.7)) / scale) for _ in b.times(8, 15)]
    open_sides = rng.random(6) < rng.choice([0.0, 0.3, 0.7])
    for axis, s in product(range(3), (-1, 1)):
        floor = (axis, s) == (2, -1)
        if open_sides[2 * axis + (s > 0)] and not floor:
            continue
        centre, size = np.zeros(3), half + 0.2 * scale
        centre[axis], size[axis] = s * (half[axis] + 0.1 * scale), 0.1 * scale
        if rng.random() < 0.25 and floor:
            relief, size = b.relief(rng.uniform(0.1, 0.5) * scale), (*size[:2], 0.6 * scale)
            b.sheet((0, 0, -half[2]), size, relief, b.pick(materials), foreground=False)
        else:
            b.box(centre, size, b.pick(materials), foreground=False)
    for _ in b.times(25, 90):
        # Nothing large in the middle, where the cameras are; small things anywhere.
        radius = scale * b.log_uniform(0.08, 1.3)
        spot = rng.uniform(-1, 1, 3) * half
        if np.abs(spot / half).max() < 0.5 and radius > 0.3 * scale:
            spot *= 0.75 / max(np.abs(spot / half).max(), 1e-3)
        things.random_shape(b, spot, radius, b.pick(materials))
    for _ in b.times(2, 14):  # wires and poles
        spot = rng.uniform(-1, 1, 3) * half
        thick = scale * rng.uniform(0.01, 0.06)
        size = (thick, thick, half[2] * rng.uniform(0.3, 2))
        rotation = random_turn(rng) if rng.random() < 0.5 else None
        b.frustum(spot, size, b.pick(materials), rotation=rotation)
    for _ in b.times(1, 4):
        spot = rng.uniform(-0.7, 0.7, 3) * half
        b.lamp(spot, b.warm_white(float((0.4 * half.max()) ** 2) * rng.uniform(0.6, 2.0)), 0.3 * scale)
    if rng.random() < 0.5:
        glow = b.glowing(rng.uniform(0.8, 2))
        for _ in b.times(1, 4):
            things.random_shape(b, rng.uniform(-0.9, 0.9, 3) * half, 0.2 * scale, glow)
    stand = np.stack((-half, half)) * 0.8
    focus = rng.uniform(-0.9, 0.9, (12, 3)) * half
    return Stage(stand, focus, 0.12 * float(half.min()))

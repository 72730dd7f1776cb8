"""Outdoors: open land with trees, rocks and houses, and streets between facades."""

import math

import numpy as np

from geometry.worlds.builder import HEIGHT_CELLS, Builder, Stage, polar, turn
from geometry.worlds.layouts import things
from geometry.worlds.textures import palette


def greens(b: Builder) -> np.ndarray:
    """A palette for plants: mostly green, at times autumnal or anything."""
    if b.rng.random() < 0.25:
        return palette(b.rng, 4)
    tone, tints = palette(b.rng, 4, 0.15), [[0.55, 1.0, 0.3], [0.8, 0.9, 0.3], [1.0, 0.65, 0.25]]
    return tone * b.rng.choice(tints, p=[0.6, 0.25, 0.15])


def build(b: Builder) -> Stage:
    """Land with relief, trees, rocks, houses and posts; cameras near the ground."""
    rng = b.rng
    reach = rng.uniform(25, 60)
    relief = rng.uniform(0.2, 3.5)
    heights = b.relief(relief, slope=rng.uniform(1.9, 2.6))
    pattern = rng.choice(["strokes", "leaves", "speckle", None], p=[0.4, 0.15, 0.15, 0.3])
    ground = b.material(pattern, scale=rng.uniform(0.25, 0.8), colours=greens(b), mirror=0.0)
    b.sheet((0, 0, 0), (reach, reach, relief + 0.5), heights, ground, foreground=False)

    def ground_at(x: float, y: float) -> float:
        i = np.clip((np.array((y, x)) / reach * 0.5 + 0.5) * (HEIGHT_CELLS - 1), 0, HEIGHT_CELLS - 1)
        return float(heights[tuple(np.round(i).astype(int))])

    def spot(low: float, high: float) -> tuple[float, float, float]:
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
        x, y, _ = polar(away, angle)
        return x, y, ground_at(x, y)

    leaf = [
        b.material(rng.choice(["strokes", "leaves", "speckle", "cells"]), colours=greens(b), mirror=0.0)
        for _ in range(2)
    ]
    bark = b.material("grain", scale=1.0, mirror=0.0)
    stone = b.materials(int(rng.integers(2, 5)))
    for _ in b.times(0, 30):
        things.tree(b, spot(4, 0.8 * reach), rng.uniform(2.5, 8), bark, leaf)
    for _ in b.times(3, 25):
        x, y, z = spot(1.5, 15)
        size = math.exp(rng.normal(-0.6, 0.6))
        half, material, rotation = size * rng.uniform(0.5, 1.1, 3), b.pick(stone), turn(rng.uniform(0, 6))
        b.rock((x, y, z + 0.3 * size), half, material, rotation=rotation, occludes=True)
    for _ in b.times(0, 4):
        place = spot(9, 22)
        half = np.array((rng.uniform(2, 5), rng.uniform(2, 4), rng.uniform(1.3, 3)))
        wall = b.material(rng.choice(["bricks", "clouds", "planks", "slabs", None]), mirror=0.0)
        roof = b.material(rng.choice(["bricks", "stripes", "cells"]))
        things.house(b, place, half, wall, roof, b.pick(stone), rng.uniform(0, 6))
    for _ in b.times(2, 18):
        things.standing_shape(b, spot(2, 12), math.exp(rng.normal(-0.6, 0.5)), b.pick(stone))
    if rng.random() < 0.5:  # a fence or a row of posts
        angle, away, gap = rng.uniform(0, 2 * np.pi), rng.uniform(4, 10), rng.uniform(0.8, 2.5)
        along, out = np.array((-np.sin(angle), np.cos(angle))), np.array((np.cos(angle), np.sin(angle)))
        for k in range(-6, 7):
            x, y = out * away + along * k * gap
            b.box((x, y, ground_at(x, y) + 0.5), (0.06, 0.06, 0.8), bark, rotation=turn(angle))
    b.fog_density = rng.choice([0.0, rng.uniform(0.001, 0.012), rng.uniform(0.012, 0.03)], p=[0.3, 0.5, 0.2])
    eye = ground_at(0, 0)
    stand = np.array(((-8, -8, eye + 0.6), (8, 8, eye + rng.uniform(2.2, 5))))
    focus = np.array([np.add(spot(1, 12), (0, 0, rng.uniform(0.3, 2))) for _ in range(12)])
    return Stage(stand, focus, 0.5)


def build_street(b: Builder) -> Stage:
    """A street or a yard: facades on two sides, things on the pavement, open ends."""
    rng = b.rng
    width, length = rng.uniform(3, 8), rng.uniform(18, 45)
    road = b.material(rng.choice(["speckle", "slabs", "bricks", "cells"]), scale=rng.uniform(0.2, 0.8))
    b.box((0, 0, -0.5), (4 * width, 1.5 * length, 0.5), road, foreground=False)
    if rng.random() < 0.7:
        kerb = b.material("slabs", scale=0.5)
        for s in (-1, 1):
            b.box((s * (width - 0.7), 0, 0.06), (0.9, length, 0.07), kerb, foreground=False)
    scales = {"windows": rng.uniform(0.12, 0.25), "bricks": 0.5, "clouds": 0.3, None: 0.4, "slabs": 0.3}
    facades = [b.material(pattern, scale=scale, mirror=0.0) for pattern, scale in scales.items()]
    roof, trim, stone = b.material("stripes"), b.material(), b.materials(4)
    for s in (-1, 1):
        y = -length
        while y < length:
            half = np.array((rng.uniform(2.5, 5), rng.uniform(2, 5), rng.uniform(1.8, 6)))
            y += half[1]
            if rng.random() < 0.88:
                set_back = rng.choice([0.0, rng.uniform(0, 2.5)])
                place = (s * (width + half[0] + set_back), y, 0.0)
                if rng.random() < 0.5:
                    things.house(b, place, half[[1, 0, 2]], b.pick(facades), roof, trim, -s * np.pi / 2)
                else:
                    b.box((*place[:2], half[2]), half, b.pick(facades), foreground=False)
            y += half[1] + rng.choice([0.0, rng.uniform(0, 2)])
    for _ in b.times(8, 30):
        s = rng.choice([-1, 1])
        place = (s * rng.uniform(0.55, 0.95) * width, rng.uniform(-0.7, 0.7) * length, 0.1)
        what = rng.integers(4)
        if what == 0:
            things.tree(b, place, rng.uniform(2.5, 6), stone[0], stone[1:])
        elif what == 1:
            tall = rng.uniform(1.5, 3)
            b.frustum((*place[:2], tall), (0.06, 0.06, tall), stone[0])
            sign = b.pick(stone)
            b.box((*place[:2], 2 * tall), (0.3, 0.1, 0.3), sign, rotation=turn(rng.uniform(0, 6)))
        else:
            things.standing_shape(b, place, math.exp(rng.normal(-0.7, 0.5)), b.pick(stone))
    for _ in b.times(0, 5):  # parked boxes on wheels
        s, y = rng.choice([-1, 1]), rng.uniform(-0.6, 0.6) * length
        x, paint = s * (width - 2.0), b.material(mirror=rng.uniform(0.05, 0.4))
        b.round_box((x, y, 0.6), (0.8, 1.9, 0.38), paint, 0.2)
        b.round_box((x, y - 0.2, 1.15), (0.7, 1.0, 0.35), stone[0], 0.25)
        for sx, sy in things.CORNERS:
            wheel = (x + 0.75 * sx, y + 1.2 * sy, 0.32)
            b.frustum(wheel, (0.32, 0.32, 0.12), stone[1], rotation=turn(0, np.pi / 2))
    b.fog_density = rng.choice([0.0, rng.uniform(0.001, 0.015)])
    stand = np.array(((-0.6 * width, -0.6 * length, 0.6), (0.6 * width, 0.6 * length, 2.6)))
    focus = rng.uniform((-width, -0.6 * length, 0.3), (width, 0.6 * length, 2.5), (14, 3))
    return Stage(stand, focus, 0.5)

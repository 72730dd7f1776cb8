"""Furnished rooms with windows, lamps, shelves, pictures and clutter."""

import numpy as np

from geometry.worlds.builder import Builder, Stage
from geometry.worlds.layouts import things
from geometry.worlds.layouts.things import upright

WALL = 0.08  # half thickness


def _wall(
    b: Builder, start: np.ndarray, end: np.ndarray, height: float, material: int, openings: int
) -> None:
    """An upright wall from start to end (along x or y) with rectangular openings: boxes around them."""
    rng = b.rng
    axis = 0 if abs(end[0] - start[0]) > abs(end[1] - start[1]) else 1
    low, high = sorted((start[axis], end[axis]))
    other = start[1 - axis]

    def block(a: float, c: float, bottom: float, top: float) -> None:
        if c - a < 1e-3 or top - bottom < 1e-3:
            return
        along, mid = 0.5 * (a + c), 0.5 * (bottom + top)
        centre = upright(axis, along, other, mid)
        half = upright(axis, (c - a) / 2, WALL, (top - bottom) / 2)
        # The offset makes the texture run on across the blocks of one wall.
        b.box(centre, half, material, foreground=False, uv=(1, 0, along, mid), tint=(1, 1, 1))

    at = low - WALL
    width = (high - low) / max(openings, 1)
    for k in range(openings):
        wide = min(rng.uniform(0.8, 2.0), 0.75 * width)
        middle = low + (k + 0.5) * width + rng.uniform(-0.4, 0.4) * (width - wide)
        bottom = rng.choice([0.0, rng.uniform(0.6, 1.1)], p=[0.25, 0.75])
        top = min(bottom + rng.uniform(1.0, 2.0), height - 0.15)
        a, c = middle - wide / 2, middle + wide / 2
        block(at, a, 0, height)
        block(a, c, 0, bottom)
        block(a, c, top, height)
        if bottom > 0 and rng.random() < 0.8:  # a cross of window bars
            frame = b.material("grain")
            up, tall = (top + bottom) / 2, (top - bottom) / 2
            for z, across, rise in (
                (up, 0.025, tall),
                (up, wide / 2, 0.025),
                (bottom, wide / 2 + 0.05, 0.03),
            ):
                centre, half = upright(axis, middle, other, z), upright(axis, across, 0.04, rise)
                b.box(centre, half, frame, foreground=False)
        at = c
    block(at, high + WALL, 0, height)


def build(b: Builder) -> Stage:
    rng = b.rng
    w, d, h = rng.uniform(1.6, 4.0), rng.uniform(1.6, 4.0), rng.uniform(2.3, 3.4)
    plain = rng.random() < 0.4
    walls = [b.material("clouds" if plain else None, mirror=0.0) for _ in b.times(1, 4)]
    floor = b.material(
        rng.choice(["planks", "slabs", "checker", "weave", None], p=[0.35, 0.2, 0.1, 0.1, 0.25])
    )
    b.box((0, 0, -0.1), (w + 0.2, d + 0.2, 0.1), floor, foreground=False)
    open_top = rng.random() < 0.12
    if not open_top:
        b.box((0, 0, h + 0.1), (w + 0.2, d + 0.2, 0.1), b.material("clouds", mirror=0.0), foreground=False)
    corners = np.array([(-w, -d), (w, -d), (w, d), (-w, d)])
    missing = rng.integers(4) if rng.random() < 0.12 else -1
    for k in range(4):
        if k != missing:
            openings = int(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))
            _wall(b, corners[k], corners[(k + 1) % 4], h, b.pick(walls), openings)
            if rng.random() < 0.5:
                skirting = b.material("grain")
                side = corners[k] * 0.5 + corners[(k + 1) % 4] * 0.5
                half = (w, WALL + 0.02, 0.05) if k % 2 == 0 else (WALL + 0.02, d, 0.05)
                b.box((side[0], side[1], 0.05), half, skirting, foreground=False)
    b.ambient *= rng.uniform(0.25, 0.6)
    b.sunny = rng.uniform(1.0, 2.5)

    contents = b.materials(int(rng.integers(5, 9)))
    wood = b.material(rng.choice(["grain", "planks", "clouds"]))
    taken: list[tuple[float, float, float]] = []

    def free_spot(radius: float, wall: bool) -> tuple[float, float, float] | None:
        """A place whose circle meets no other's; beside a wall also which way its back is."""
        for _ in range(12):
            yaw = rng.integers(4) * np.pi / 2
            x, y = rng.uniform(-w + radius, w - radius), rng.uniform(-d + radius, d - radius)
            if wall:
                side = int(yaw / (np.pi / 2) + 0.5)
                x, y = [(x, d - 0.5), (-w + 0.5, y), (x, -d + 0.5), (w - 0.5, y)][side]
            if all(np.hypot(x - a, y - c) > radius + r for a, c, r in taken):
                taken.append((x, y, radius))
                return x, y, yaw
        return None

    for _ in b.times(1, 5):
        if spot := free_spot(0.6, wall=True):
            half = np.array((rng.uniform(0.3, 0.6), rng.uniform(0.12, 0.2), rng.uniform(0.4, 1.05)))
            back = np.array((-np.sin(spot[2]), np.cos(spot[2]))) * (0.5 - WALL - half[1] - 0.02)
            things.shelf(b, (spot[0] + back[0], spot[1] + back[1], 0), half, wood, contents, spot[2])
    if rng.random() < 0.7 and (spot := free_spot(0.9, wall=True)):
        things.sofa(b, (spot[0], spot[1], 0), b.material(mirror=0.0), spot[2])
    tops = []
    for _ in b.times(1, 3):
        if spot := free_spot(0.8, wall=False):
            half = np.array((rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.4)))
            yaw = spot[2] + rng.normal(0, 0.2)
            top = things.table(b, (spot[0], spot[1], 0), half, b.pick(contents), wood, yaw)
            tops.append((spot[0], spot[1], top))
            for _ in b.times(3, 9):
                away = rng.uniform(-0.7, 0.7, 2) * half[:2].min()
                place = (spot[0] + away[0], spot[1] + away[1], top)
                things.standing_shape(b, place, rng.uniform(0.04, 0.16), b.pick(contents))
            for _ in b.times(0, 4):
                angle = rng.uniform(0, 2 * np.pi)
                x, y = spot[0] + 0.85 * np.cos(angle), spot[1] + 0.85 * np.sin(angle)
                if abs(x) < w - 0.4 and abs(y) < d - 0.4:
                    things.chair(b, (x, y, 0), b.pick(contents), wood, angle - np.pi / 2)
    for _ in b.times(3, 11):
        if spot := free_spot(0.35, wall=False):
            place = (spot[0], spot[1], 0.0)
            if rng.random() < 0.5:
                things.standing_shape(b, place, rng.uniform(0.12, 0.4), b.pick(contents))
            else:
                things.pile(b, place, 0.4, rng.uniform(0.08, 0.2), int(rng.integers(3, 8)), contents)
    if rng.random() < 0.6:
        rug = (rng.uniform(-0.5, 0.5) * w, rng.uniform(-0.5, 0.5) * d, 0.004)
        b.box(rug, (rng.uniform(0.5, 1.2), rng.uniform(0.4, 1.0), 0.006), b.material(), foreground=False)
    for _ in b.times(2, 9):
        side = int(rng.integers(4))
        if side == missing:
            continue
        x, y = rng.uniform(-0.8, 0.8) * w, rng.uniform(-0.8, 0.8) * d
        inner = WALL + 0.01
        place = [(x, d - inner), (-w + inner, y), (x, -d + inner), (w - inner, y)][side]
        size = rng.uniform(0.12, 0.5, 2)
        things.picture(b, np.array((*place, rng.uniform(1.2, 1.8))), size[0], size[1], side * np.pi / 2)
    for _ in b.times(1, 4):
        if not open_top:
            spot = (rng.uniform(-0.7, 0.7) * w, rng.uniform(-0.7, 0.7) * d, h)
            things.ceiling_lamp(b, spot, rng.uniform(0.8, 3.5))
    if rng.random() < 0.4 and (spot := free_spot(0.3, wall=True)):
        things.floor_lamp(b, (spot[0], spot[1], 0), rng.uniform(0.5, 2.0))

    low, high = np.array((-w + 0.3, -d + 0.3, 0.5)), np.array((w - 0.3, d - 0.3, min(2.1, h - 0.3)))
    focus = [(x, y, rng.uniform(0.3, 1.0)) for x, y, _ in taken] + [(x, y, z + 0.1) for x, y, z in tops]
    focus += list(rng.uniform((-w, -d, 0.3), (w, d, 1.8), (6, 3)))
    return Stage(np.stack((low, high)), np.array(focus), 0.25)

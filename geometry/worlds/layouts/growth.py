"""Plants and thin things, which photos are full of: foliage to see through, twigs, grass, railings, wires.

They stand among what the cameras look at, in any world; all draws come after the layout's, so that the world
is otherwise the same. Sizes follow the scene's, as a world may have no scale.
"""

import numpy as np
from numpy.typing import NDArray

from geometry.worlds.builder import Builder, Stage, Vector, random_turn, turn
from geometry.worlds.layouts.outdoor import greens

MOST = 2000  # primitives, beyond which nothing is begun: they take time to draw


def overgrow(b: Builder, stage: Stage) -> None:
    """Add some plants and thin things around the points that are worth looking at."""
    rng = b.rng
    middle, focus = np.mean(stage.stand, axis=0), np.asarray(stage.focus)
    reach = float(np.median(np.linalg.norm(focus - middle, axis=1)))
    patterns = ["leaves", "strokes", None]
    leaf = [b.material(rng.choice(patterns), colours=greens(b), mirror=0.0) for _ in range(3)]
    stem, metal = b.material("grain", mirror=0.0), b.material()
    first = b.count
    for _ in b.times(4, 14):
        if b.count - first > MOST:
            break
        spot = focus[rng.integers(len(focus))] + reach * rng.normal(0, 0.25, 3) * (1, 1, 0.1)
        size = reach * b.log_uniform(0.08, 0.5)
        what = rng.choice(5, p=[0.35, 0.3, 0.15, 0.12, 0.08])
        if what == 0:
            bush(b, spot, size, b.pick(leaf), stem)
        elif what == 1:
            foliage = b.pick(leaf) if rng.random() < 0.7 else None
            branches(b, spot, (0, 0, 1), size, 0.05 * size, stem, foliage, int(rng.integers(3, 6)))
        elif what == 2:
            tuft(b, spot, size, b.pick(leaf))
        elif what == 3:
            railing(b, spot, size * rng.uniform(1, 4), size, metal)
        else:
            ends, up = rng.choice(focus, 2, replace=False), reach * rng.uniform(0.1, 0.5)
            for lift in rng.normal(0, 0.05 * reach, rng.integers(1, 4)):
                start, end = ends + np.array((0, 0, up + lift))
                rod(b, start, end, reach * b.log_uniform(0.001, 0.008), metal)


def bush(b: Builder, centre: NDArray, radius: float, leaf: int, stem: int) -> None:
    """Leaves, dense or sparse, within a ball that is turned and squeezed; twigs from its foot."""
    rng = b.rng
    shape = random_turn(rng) * rng.uniform(0.5, 1.0, 3)
    fine = b.log_uniform(0.04, 0.16)  # of the radius: half the length of a leaf
    count = int(np.clip(rng.uniform(0.3, 1.5) / fine**2, 20, 500))
    away = rng.standard_normal((count, 3))
    away *= (rng.uniform(0.2, 1, count) ** (1 / 3) / np.linalg.norm(away, axis=1))[:, None]
    places = centre + radius * away @ shape.T
    leaves(b, places, radius * fine, leaf)
    foot = centre - (0, 0, radius * rng.uniform(1.0, 2.0))
    for place in places[: rng.integers(1, 9)]:
        rod(b, foot, place, radius * 0.02, stem, top=0.3)


def leaves(b: Builder, places: NDArray, half: float, leaf: int) -> None:
    """Flat leaves in any direction, some ``half`` from middle to tip, each of its own brightness."""
    rng = b.rng
    broad, tone = rng.uniform(0.25, 1.0), rng.uniform(0.7, 1.1)
    for place in places:
        sides = half * rng.uniform(0.6, 1.2) * np.array((1.0, broad, 0.08))
        tint = tone * rng.uniform(0.6, 1.2) * rng.uniform(0.92, 1.08, 3)
        b.ellipsoid(place, sides, leaf, rotation=random_turn(rng), tint=tint)


def branches(
    b: Builder,
    foot: Vector,
    way: Vector,
    length: float,
    thick: float,
    bark: int,
    leaf: int | None,
    depth: int,
) -> None:
    """A tree: each branch carries two or three smaller ones, the last ones leaves, if there is a ``leaf``."""
    rng = b.rng
    foot, way = np.asarray(foot), np.asarray(way)
    end = foot + length * way
    rod(b, foot, end, thick, bark, top=0.6)
    if depth > 1:
        for _ in range(rng.integers(2, 4)):
            turned = way + rng.normal(0, 0.45, 3)
            turned /= np.linalg.norm(turned)
            start, shorter = foot + rng.uniform(0.5, 1.0) * (end - foot), length * rng.uniform(0.5, 0.85)
            branches(b, start, turned, shorter, 0.6 * thick, bark, leaf, depth - 1)
    elif leaf is not None:
        places = foot + rng.uniform(0.2, 1.2, (12, 1)) * (end - foot) + length * rng.normal(0, 0.25, (12, 3))
        leaves(b, places, length * b.log_uniform(0.08, 0.25), leaf)


def tuft(b: Builder, foot: NDArray, height: float, leaf: int) -> None:
    """Blades of grass."""
    rng = b.rng
    for _ in b.times(30, 160):
        root = foot + height * rng.normal(0, 0.35, 3) * (1, 1, 0)
        tip = root + height * rng.uniform(0.4, 1.0) * np.array((*rng.normal(0, 0.3, 2), 1.0))
        rod(b, root, tip, height * rng.uniform(0.008, 0.025), leaf, top=0.1)


def railing(b: Builder, foot: NDArray, length: float, height: float, metal: int) -> None:
    """Bars between two rails; at times a ladder or a net, which is the same turned."""
    rng = b.rng
    axes = turn(rng.uniform(0, 6)) if rng.random() < 0.8 else random_turn(rng)
    thin = height * b.log_uniform(0.008, 0.04)
    for up in (0.1, 1.0):
        left, right = (foot + axes @ np.array((s * length / 2, 0, up * height)) for s in (-1, 1))
        rod(b, left, right, 1.3 * thin, metal)
    count = int(np.clip(length / height * rng.uniform(3, 12), 3, 60))
    for along in np.linspace(-0.5, 0.5, count) * length:
        low, high = (foot + axes @ np.array((along, 0, up * height)) for up in (0.0, 1.0))
        rod(b, low, high, thin, metal)


def rod(b: Builder, start: Vector, end: Vector, thick: float, material: int, *, top: float = 1.0) -> None:
    """A round bar of radius ``thick`` from one point to another one, ``top`` times as thick there."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    along = end - start
    length = float(np.linalg.norm(along))
    z = along / length
    x = np.cross(z, (1.0, 0, 0) if abs(z[0]) < 0.7 else (0, 1.0, 0))
    x /= np.linalg.norm(x)
    rotation = np.stack((x, np.cross(z, x), z), axis=1)
    b.frustum((start + end) / 2, (thick, thick, length / 2), material, top=top, rotation=rotation)

"""Periodic grey patterns on a square: the alphabet from which textures are composed.

Every function returns [S, S] float32 in 0..1 that repeats without a seam, drawn from the given generator.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Image = NDArray[np.float32]  # [S, S]


def spread(image: Image) -> Image:
    """Stretch to 0..1 by the 1st and 99th percentiles of a sample."""
    low, high = np.quantile(image[::4, ::4], (0.01, 0.99))
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def step(image: Image, edge: float, width: float) -> Image:
    """Smooth step of the given width around ``edge``."""
    x = np.clip((image - edge) / max(width, 1e-6) + 0.5, 0, 1)
    return x * x * (3 - 2 * x)


def grid(size: int) -> tuple[Image, Image]:
    """u (along columns) and v (along rows) of texel centres in 0..1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


def spectral(
    rng: np.random.Generator,
    size: int,
    *,
    slope: float = 1.0,
    lowest: float = 1.0,
    highest: float = 1e9,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Image:
    """Noise with amplitude 1 / frequency ** slope between two frequencies (cycles per tile).

    Slope 1 has the statistics of photographs; ``stretch`` > 1 draws it out along ``angle`` (grain, cloth).
    """
    fy = np.fft.fftfreq(size, 1 / size).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size, 1 / size).astype(np.float32)[None]
    c, s = math.cos(angle), math.sin(angle)
    radius = np.hypot((c * fx + s * fy) * stretch, c * fy - s * fx)
    amplitude = np.where((radius >= lowest) & (radius <= highest), np.maximum(radius, 0.5) ** -slope, 0)
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32)) * amplitude
    return spread(np.fft.irfft2(spectrum, s=(size, size)))  # type: ignore[arg-type]


def warp(image: Image, dx: Image, dy: Image, amount: float) -> Image:
    """Displace texels by (dx, dy) - 1/2, ``amount`` in tiles, wrapping around."""
    size = len(image)
    u, v = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    x = ((u + (dx - 0.5) * (2 * amount * size)) % size).astype(np.float32)
    y = ((v + (dy - 0.5) * (2 * amount * size)) % size).astype(np.float32)
    padded = cv2.copyMakeBorder(image.astype(np.float32), 0, 1, 0, 1, cv2.BORDER_WRAP)
    return cv2.remap(padded, x, y, cv2.INTER_LINEAR)  # type: ignore[return-value]


def clouds(rng: np.random.Generator, size: int) -> Image:
    return spectral(rng, size, slope=rng.uniform(0.8, 2.0))


def speckle(rng: np.random.Generator, size: int) -> Image:
    """Band-limited noise: blotches of about one size."""
    low = rng.uniform(4, size / 12)
    return spectral(rng, size, slope=0.0, lowest=low, highest=low * rng.uniform(1.3, 3))


def grain(rng: np.random.Generator, size: int) -> Image:
    """Drawn-out noise: brushed metal, wood, cloth."""
    slope, stretch = rng.uniform(0.5, 1.3), rng.uniform(4, 20)
    angle = rng.choice([0, math.pi / 2, rng.uniform(0, math.pi)])
    return spectral(rng, size, slope=slope, lowest=2, stretch=stretch, angle=angle)


def ridges(rng: np.random.Generator, size: int) -> Image:
    """Creases of smooth noise: marble veins, cracks."""
    noise = spectral(rng, size, slope=rng.uniform(1.2, 2.2))
    return np.clip(np.abs(2 * noise - 1) * rng.uniform(1, 4), 0, 1)


def contours(rng: np.random.Generator, size: int) -> Image:
    """Level lines of smooth noise: agate, wood rings, camouflage."""
    noise = spectral(rng, size, slope=rng.uniform(1.5, 2.5))
    rings = np.sin(noise * rng.uniform(6, 40)) * 0.5 + 0.5
    return step(rings, 0.5, rng.uniform(0.1, 1.0)) if rng.random() < 0.5 else rings


def _cells(rng: np.random.Generator, size: int, count: int, near: int) -> tuple[NDArray, NDArray]:
    """Distances to, and identities of, the ``near`` nearest of ``count`` random points on the torus."""
    side = max(round(math.sqrt(count)), 1)
    loose = rng.uniform(0.2, 1.0)
    u, v = np.meshgrid(np.arange(side), np.arange(side))
    points = (np.stack((u, v), -1).reshape(-1, 2) + 0.5 + loose * rng.uniform(-0.5, 0.5, (side**2, 2))) / side
    u, v = grid(size)
    tree = cKDTree(points % 1.0, boxsize=1.0)
    distance, which = tree.query(np.stack((u, v), -1).reshape(-1, 2), k=near)
    return distance.reshape(size, size, near) * side, which.reshape(size, size, near)


def cells(rng: np.random.Generator, size: int) -> Image:
    """Voronoi cells: each its own grey, with or without joints (stones, leather, scales)."""
    distance, which = _cells(rng, size, int(rng.integers(12, 400)), 2)
    tone = rng.random(int(which.max()) + 1, dtype=np.float32)[which[..., 0]]
    gap = (distance[..., 1] - distance[..., 0]).astype(np.float32)
    style = rng.integers(3)
    if style == 0:
        return tone
    joint = step(gap, rng.uniform(0.03, 0.2), 0.1)
    return joint * (0.35 + 0.65 * tone) if style == 1 else np.clip(1 - distance[..., 0], 0, 1).astype("f4")


def checker(rng: np.random.Generator, size: int) -> Image:
    count = 2 * int(rng.integers(1, 7))
    u, v = grid(size)
    return ((np.floor(u * count) + np.floor(v * count)) % 2).astype(np.float32)


def _tiles(rng: np.random.Generator, size: int, columns: int, rows: int, shift: float, joint: float) -> Image:
    u, v = grid(size)
    row = np.floor(v * rows)
    x = u * columns + row * shift
    column = np.floor(x) % columns
    tone = rng.uniform(0.45, 1, (rows, columns)).astype(np.float32)
    tone = tone[row.astype(int), column.astype(int)]
    across = np.minimum(x % 1, 1 - x % 1) / columns
    along = np.minimum(v * rows % 1, 1 - v * rows % 1) / rows
    return tone * step(np.minimum(across, along), joint, 2.0 / size + 0.3 * joint)


def bricks(rng: np.random.Generator, size: int) -> Image:
    columns = int(rng.integers(2, 7))
    rows = 2 * int(rng.integers(columns // 2 + 1, 2 * columns))
    return _tiles(rng, size, columns, rows, 0.5, rng.uniform(0.003, 0.012))


def planks(rng: np.random.Generator, size: int) -> Image:
    boards = _tiles(rng, size, int(rng.integers(1, 3)), 2 * int(rng.integers(2, 7)), 0.5, 0.003)
    wood = spectral(rng, size, slope=1.0, lowest=2, stretch=12, angle=0.0)
    return boards * (0.6 + 0.4 * wood)


def slabs(rng: np.random.Generator, size: int) -> Image:
    count = int(rng.integers(1, 8))
    return _tiles(rng, size, count, count, 0.0, rng.uniform(0.002, 0.015))


def stripes(rng: np.random.Generator, size: int) -> Image:
    """Bands of random widths and tones along one axis, sometimes wavy."""
    u, v = grid(size)
    count = int(rng.integers(3, 40))
    edges = np.sort(rng.random(count)) if rng.random() < 0.5 else (np.arange(count) + 0.5) / count
    tone = rng.random(count).astype(np.float32)
    x = u if rng.random() < 0.5 else v
    if rng.random() < 0.4:
        x = (x + rng.uniform(0.01, 0.08) * (clouds(rng, size) - 0.5)) % 1.0
    return tone[np.searchsorted(edges, x) % count]


def weave(rng: np.random.Generator, size: int) -> Image:
    """Crossing threads, or a plaid when the bands are broad."""
    a, b = stripes(rng, size), stripes(rng, size).T
    u, v = grid(size)
    count = int(rng.integers(8, 48))
    over = (np.floor(u * count) + np.floor(v * count)) % 2
    return (a * over + b * (1 - over)).astype(np.float32) if rng.random() < 0.5 else 0.5 * (a + b)


def waves(rng: np.random.Generator, size: int) -> Image:
    """A few plane waves: ripples, corrugation."""
    u, v = grid(size)
    total = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        total += np.sin(2 * np.pi * (rng.integers(-12, 13) * u + rng.integers(-12, 13) * v + rng.random()))
    return spread(total)


def gradient(rng: np.random.Generator, size: int) -> Image:
    """A slow seamless ramp."""
    u, v = grid(size)
    return (0.5 + 0.5 * np.sin(2 * np.pi * ((u if rng.random() < 0.5 else v) + rng.random()))).astype("f4")


def _copies(size: int, x: float, y: float, reach: float) -> Iterator[tuple[float, float]]:
    """(x, y) and its copies across the borders that a shape of that reach crosses."""
    for sx, sy in product((-size, 0, size), repeat=2):
        if -reach < x + sx < size + reach and -reach < y + sy < size + reach:
            yield x + sx, y + sy


FIXED = 4  # fractional bits of OpenCV's drawing coordinates


def _fixed(points: NDArray | Sequence[float]) -> Any:
    return np.round(np.asarray(points) * (1 << FIXED)).astype(np.int32)


def leaves(rng: np.random.Generator, size: int) -> Image:
    """Dead leaves: shapes of power-law size covering each other, the occlusion statistics of photographs."""
    canvas = np.full((size, size), rng.random(), np.float32)
    style = rng.integers(4)
    for _ in range(int(rng.integers(150, 700))):
        radius = min(1.5 / (rng.random() + 1e-3) ** 0.6, size / 5) * size / 256
        x, y = rng.random(2) * size
        tone = float(rng.random())
        if style == 0:
            angles = np.linspace(0, 2 * np.pi, 24)
        else:
            angles = np.sort(rng.random(int(rng.integers(3, 7)))) * 2 * np.pi
        squash, turn = rng.uniform(0.3, 1), rng.random() * np.pi
        outline = np.stack((np.cos(angles), squash * np.sin(angles)), -1) * radius
        c, s = math.cos(turn), math.sin(turn)
        outline = outline @ np.array([[c, s], [-s, c]])
        for centre in _copies(size, x, y, radius):
            cv2.fillConvexPoly(canvas, _fixed(outline + np.array(centre)), tone, cv2.LINE_AA, FIXED)
    return np.clip(canvas, 0, 1)


def spots(rng: np.random.Generator, size: int) -> Image:
    """Discs or rings on a plain ground."""
    canvas = np.zeros((size, size), np.float32)
    radius = rng.uniform(0.01, 0.08) * size
    for _ in range(int(min(0.35 / (radius / size) ** 2 / 3, 300))):
        x, y = rng.random(2) * size
        r = radius * rng.uniform(0.5, 1.2)
        tone, line = float(rng.uniform(0.5, 1)), -1 if rng.random() < 0.8 else 2
        for centre in _copies(size, x, y, r + 2):
            cv2.circle(canvas, _fixed(centre), int(r * 16), tone, line, cv2.LINE_AA, FIXED)
    return np.clip(canvas, 0, 1)


def strokes(rng: np.random.Generator, size: int) -> Image:
    """Many short lines: grass, straw, fur, scratches."""
    canvas = np.full((size, size), 0.4, np.float32)
    length, main, loose = rng.uniform(0.02, 0.15) * size, rng.random() * np.pi, rng.choice([0.2, 0.6, 3.0])
    for _ in range(int(rng.integers(300, 900))):
        x, y = rng.random(2) * size
        angle = main + loose * rng.standard_normal()
        dx, dy = length * math.cos(angle), length * math.sin(angle)
        tone, thick = float(rng.random()), int(rng.integers(1, 3))
        for cx, cy in _copies(size, x, y, length + 2):
            cv2.line(canvas, _fixed((cx, cy)), _fixed((cx + dx, cy + dy)), tone, thick, cv2.LINE_AA, FIXED)
    return np.clip(canvas, 0, 1)


def glyphs(rng: np.random.Generator, size: int) -> Image:
    """Lines of invented letters: strokes and arcs on a small grid, words parted by gaps."""
    canvas = np.ones((size, size), np.float32)
    lines = int(rng.integers(3, 16))
    height = size / lines
    ink = max(int(height * rng.uniform(0.06, 0.14)), 1)
    knots = np.array([(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5), (0, 1), (0.5, 1), (0.25, 0.5), (0.25, 0)])
    alphabet = [rng.choice(8, int(rng.integers(3, 6)), replace=False) for _ in range(20)]
    for row in range(lines):
        scale = height * rng.uniform(0.45, 0.65)
        x = height * rng.uniform(0.1, 0.6)
        end = size * rng.uniform(0.6, 0.98)
        while x < end - 0.6 * scale:
            if rng.random() < 0.17:
                x += 0.6 * scale
                continue
            origin = np.array((x, (row + 0.2) * height))
            letter = knots[alphabet[int(rng.integers(20))]] * scale + origin
            cv2.polylines(canvas, [_fixed(letter)], False, 0.0, ink, cv2.LINE_AA, FIXED)
            x += 0.8 * scale
    return np.clip(canvas, 0, 1)


def windows(rng: np.random.Generator, size: int) -> Image:
    """A facade: panes in rows, each with its own tone and a frame."""
    u, v = grid(size)
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    x, y = u * columns % 1, v * rows % 1
    wide, tall = rng.uniform(0.2, 0.4), rng.uniform(0.25, 0.42)
    inside = np.minimum(wide - np.abs(x - 0.5), tall - np.abs(y - 0.5))
    tone = rng.uniform(0.0, 0.6, (rows, columns)).astype("f4")
    tone = tone[(v * rows).astype(int), (u * columns).astype(int)]
    bars = (np.abs(x - 0.5) < 0.015) | (np.abs(y - 0.5 - rng.uniform(-0.1, 0.1)) < 0.015)
    frame = (inside < 0.03) | bars
    return np.where(inside > 0, np.where(frame, 1.0, tone), 0.75).astype(np.float32)


PATTERNS = (clouds, speckle, grain, ridges, contours, cells, checker, bricks, planks)
PATTERNS += (slabs, stripes, weave, waves, gradient, leaves, spots, strokes, glyphs)

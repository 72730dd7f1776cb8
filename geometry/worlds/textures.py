"""Materials baked to mip pyramids: colour, bump slopes and gloss of one tile.

Baking once per world lets the renderer stay small (it only looks up) and lets any pattern be filtered:
the pyramid is what keeps fine detail from flickering between views.
"""

import colorsys

import numpy as np
from numpy.typing import NDArray

from geometry.worlds import patterns
from geometry.worlds.patterns import Image
from geometry.worlds.world import TEXTURE_CHANNELS

BUMP_RANGE = 4.0  # slopes are stored within +- this many texel heights, in units of BUMP strength


def palette(rng: np.random.Generator, count: int, saturation: float | None = None) -> NDArray:
    """``count`` linear colours [count, 3] of one mood: neighbouring or opposed hues, mostly muted."""
    if saturation is None:
        saturation = rng.choice([rng.beta(1.5, 5), rng.beta(2, 2.5), rng.beta(4, 1.5)], p=[0.62, 0.28, 0.1])
    # The hues of rooms and streets are mostly wood, stone, skin and sky; any hue at all is the rest.
    hue = rng.choice(
        [rng.normal(0.08, 0.035), rng.normal(0.6, 0.04), rng.normal(0.3, 0.07), rng.random()],
        p=[0.5, 0.13, 0.12, 0.25],
    )
    spread = rng.choice([0.03, 0.08, 0.5, 1.0], p=[0.4, 0.35, 0.15, 0.1])
    # Values are spaced apart, so that patterns show; their order is random.
    low, high = sorted(rng.uniform(0.12, 0.98, 2))
    if high - low < 0.25:
        low, high = max(low - 0.15, 0.08), min(high + 0.15, 0.98)
    values = np.linspace(low, high, count) if count > 1 else np.array([rng.uniform(0.3, 0.95)])
    rng.shuffle(values)
    colours = []
    for value in values:
        tone = (hue + spread * rng.uniform(-0.5, 0.5)) % 1
        colours.append(colorsys.hsv_to_rgb(tone, min(saturation * rng.uniform(0.6, 1.3), 1.0), value))
    return np.asarray(colours, np.float32) ** 2.2


def ramp(grey: Image, colours: NDArray) -> NDArray:
    """Colours [S, S, 3] of a grey pattern through evenly spaced stops."""
    position = np.clip(grey, 0, 1) * (len(colours) - 1)
    base = np.minimum(position.astype(int), len(colours) - 2)
    part = (position - base)[..., None]
    return (colours[base] * (1 - part) + colours[base + 1] * part).astype(np.float32)


def _noisy(rng: np.random.Generator, colour: NDArray, strength: float) -> NDArray:
    """Wear: slow and fine variation of value, and a little of hue."""
    size = len(colour)
    value = patterns.spectral(rng, size, slope=rng.uniform(0.5, 1.3)) - 0.5
    colour = colour * (1 + strength * value[..., None])
    if rng.random() < 0.3:
        stain = patterns.step(patterns.spectral(rng, size, slope=1.6), rng.uniform(0.5, 0.8), 0.3)
        tone = palette(rng, 1)[0]
        colour = colour + (tone - colour) * (0.5 * strength * stain[..., None])
    return colour


def compose(
    rng: np.random.Generator, size: int, pattern: str | None = None, colours: NDArray | None = None
) -> tuple[NDArray, Image, Image]:
    """One tile: linear colour [S, S, 3], height [S, S] in 0..1, gloss mask [S, S].

    Args:
        pattern: name of a function of `patterns`; by default one is drawn, often two mixed by a third.
        colours: linear stops [n, 3]; by default a drawn palette.
    """
    first = getattr(patterns, pattern) if pattern else patterns.PATTERNS[rng.integers(len(patterns.PATTERNS))]
    grey = first(rng, size)
    if rng.random() < 0.25 and pattern not in ("glyphs", "windows", "bricks"):
        dx, dy = patterns.clouds(rng, size), patterns.clouds(rng, size)
        grey = patterns.warp(grey, dx, dy, rng.uniform(0.01, 0.1))
    height = grey
    if colours is None:
        colours = palette(rng, int(rng.integers(2, 6)))
    if pattern == "leaves" or (first is patterns.leaves and rng.random() < 0.7):
        # Tones stand for separate things here: neighbouring tones get unrelated colours.
        colours = np.concatenate([palette(rng, 4, rng.uniform(0.1, 0.8)) for _ in range(4)])
    colour = ramp(grey, colours)
    if pattern is None and rng.random() < 0.4:
        other = patterns.PATTERNS[rng.integers(len(patterns.PATTERNS))].__name__
        second, grey2, _ = compose(rng, size, other)
        noise = patterns.spectral(rng, size, slope=rng.uniform(1, 2))
        mask = patterns.step(noise, rng.uniform(0.35, 0.65), 0.15)
        colour = colour + (second - colour) * mask[..., None]
        height = height + (grey2 - height) * mask
    # About one material in six is nearly plain, as painted walls are.
    plain = rng.random() < 0.17
    if plain and pattern is None:
        mean = colour.mean((0, 1))
        colour = mean + (colour - mean) * 0.12
        height = 0.1 * height
    colour = _noisy(rng, colour, rng.uniform(0.1, 0.35) if plain else rng.uniform(0.2, 0.9))
    height = height + rng.uniform(0, 0.5) * patterns.spectral(rng, size, slope=1.0)
    gloss = np.clip(1.0 - rng.uniform(0, 1) * grey, 0.05, 1)
    return np.clip(colour, 0.004, 0.92), height.astype(np.float32), gloss.astype(np.float32)


def pyramid(levels0: NDArray) -> NDArray:
    """All mip levels [T, C] of [S, S, C], finest first, by averaging squares."""
    levels, level = [levels0.reshape(-1, levels0.shape[-1])], levels0
    while len(level) > 1:
        level = 0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2])
        levels.append(level.reshape(-1, level.shape[-1]))
    return np.concatenate(levels)


def bake(colour: NDArray, height: Image, gloss: Image) -> NDArray:
    """A material's mip pyramid [T, 8] uint8; see `world.TEXTURE_CHANNELS`.

    Colours are averaged in linear light and stored as square roots: equal steps for the eye.
    """
    size = len(height)
    per_tile = size / 256  # slopes per texel at the reference resolution
    du = 0.5 * (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * per_tile
    dv = 0.5 * (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * per_tile
    slopes = np.clip(np.stack((du, dv), -1) * BUMP_RANGE, -1, 1) * 0.5 + 0.5
    levels = pyramid(np.concatenate((colour, slopes, gloss[..., None]), -1).astype(np.float32))
    levels[:, :3] = np.sqrt(np.clip(levels[:, :3], 0, 1))
    padding = np.zeros((len(levels), TEXTURE_CHANNELS - levels.shape[1]), np.float32)
    return np.round(np.concatenate((levels, padding), -1) * 255).astype(np.uint8)


def shared_noise(rng: np.random.Generator, size: int) -> NDArray:
    """Pyramid [T] uint8 of the noise that gives every material slow variation and fine grain."""
    noise = patterns.spectral(rng, size, slope=rng.uniform(0.5, 0.9))
    return np.round(pyramid(noise[..., None])[:, 0] * 255).astype(np.uint8)

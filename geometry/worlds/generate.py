"""A world from a seed."""

import dataclasses

import numpy as np
import torch

from geometry.worlds import columns as at
from geometry.worlds.builder import Builder
from geometry.worlds.cameras import sample_cameras
from geometry.worlds.layouts import LAYOUTS
from geometry.worlds.layouts.growth import overgrow
from geometry.worlds.photometry import meter
from geometry.worlds.rendering import render
from geometry.worlds.world import World

KINDS = tuple(LAYOUTS)
KIND_SHARES = dict(zip(KINDS, (0.25, 0.2, 0.12, 0.18, 0.13, 0.12)))
METRIC_KINDS = frozenset({"room", "tabletop", "outdoor", "street"})  # elsewhere sizes mean nothing
DRAWS = 8


def procedural_world(
    seed: int | tuple[int, ...],
    kind: str | None = None,
    *,
    texture_size: int = 256,
    overgrown: bool = False,
) -> World:
    """Build the world of a seed: primitives, materials, lights, sky, and where cameras may stand.

    A layout that leaves no usable view (drawn rarely) is replaced by the next draw of the same seed, so that
    every seed gives a world. Its exposure is set from a few probe views.

    Args:
        seed: a non-negative integer, or several that together name the world.
        kind: one of `KINDS`; drawn by default.
        texture_size: texels on a side of one material's tile, a power of two from 64 on. 256 suits
            pictures of about 250 pixels, 512 those of about 1000.
        overgrown: with plants and thin things among the others (`geometry.worlds.layouts.growth`).

    Raises:
        ValueError: unknown kind, or a texture size that is no such power of two.
    """
    if kind is not None and kind not in LAYOUTS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if texture_size < 64 or texture_size & (texture_size - 1):
        raise ValueError(f"texture_size must be a power of two from 64 on, got {texture_size}")
    for draw in range(DRAWS):
        entropy = (*(seed if isinstance(seed, tuple) else (seed,)), draw)
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        drawn = rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values()))
        name = kind or str(drawn)
        builder = Builder(rng, texture_size)
        stage = LAYOUTS[name](builder)
        if overgrown:
            overgrow(builder, stage)
        world = builder.finish(name=name, seed=entropy[-2], **stage._asdict())
        try:
            return _exposed(world, int(rng.integers(2**31)))
        except RuntimeError:
            continue
    raise RuntimeError(f"seed {seed}, kind {kind!r}: no usable world in {DRAWS} draws")


def _exposed(world: World, seed: int) -> World:
    """Set the exposure as a camera's meter would, from small pictures of a few views.

    The judge of views rejects the dark and the glaring as it is exposed now, so this is done twice.
    """
    for _ in range(2):
        generator = torch.Generator().manual_seed(seed)
        cameras = sample_cameras(world, 4, (32, 32), generator, threads=1)
        air = world.air.clone()
        air[at.EXPOSURE] = meter(render(world, cameras, (32, 32), smooth=False, threads=1).radiance)
        world = dataclasses.replace(world, air=air)
    return world

"""Skies: gradients, clouds, sun, haze and far hills, as an equirectangular picture."""

import colorsys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geometry.worlds import patterns

SKY_SIZE = (384, 768)


class Sky(NamedTuple):
    picture: NDArray  # [h, w, 3] uint8, square root of linear colour; top row is the zenith
    sun_direction: NDArray  # unit, towards the sun
    sun_colour: NDArray  # linear radiance; zero when overcast or at night
    ambient_up: NDArray  # mean light from above and from below
    ambient_down: NDArray
    haze: NDArray  # colour of the horizon


def _rgb(hue: float, saturation: float, value: float) -> NDArray:
    return np.asarray(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) ** 2.2


def make_sky(rng: np.random.Generator) -> Sky:
    """A sky of a drawn weather: clear, cloudy, overcast, low sun, dusk, or plain studio light."""
    h, w = SKY_SIZE
    weather = rng.choice(
        ["clear", "cloudy", "overcast", "low", "dusk", "studio"], p=[0.25, 0.3, 0.15, 0.15, 0.07, 0.08]
    )
    low, dusk, high = rng.uniform(0.12, 0.4), rng.uniform(0.05, 0.15), rng.uniform(0.45, 1.4)
    elevation = {"low": low, "dusk": dusk}.get(weather, high)
    azimuth = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    sun = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])

    blue = rng.uniform(0.54, 0.63)
    if weather in ("low", "dusk"):
        zenith = _rgb(rng.uniform(0.58, 0.72), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.65))
        horizon = _rgb(rng.uniform(0.02, 0.12), rng.uniform(0.3, 0.65), rng.uniform(0.75, 0.95))
    elif weather == "overcast":
        zenith = _rgb(blue, rng.uniform(0, 0.1), rng.uniform(0.7, 0.9))
        horizon = _rgb(blue, rng.uniform(0, 0.08), rng.uniform(0.75, 0.95))
    elif weather == "studio":
        zenith = _rgb(rng.random(), rng.uniform(0, 0.4), 0.9)
        horizon = _rgb(rng.random(), rng.uniform(0, 0.4), 0.6)
    else:
        zenith = _rgb(blue, rng.uniform(0.4, 0.8), rng.uniform(0.55, 0.85))
        horizon = _rgb(blue - 0.03, rng.uniform(0.08, 0.3), rng.uniform(0.85, 1.0))
    ground = _rgb(rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6))

    polar = ((np.arange(h, dtype=np.float32) + 0.5) / h * np.pi)[:, None]
    around = (((np.arange(w, dtype=np.float32) + 0.5) / w - 0.5) * 2 * np.pi)[None]
    z = np.cos(polar) * np.ones_like(around)
    x, y = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)
    up = np.clip(z, 0, 1)[..., None] ** rng.uniform(0.4, 0.8)
    picture = horizon + (zenith - horizon) * up
    toward = np.clip(x * sun[0] + y * sun[1] + z * sun[2], -1, 1)[..., None]
    warm = _rgb(rng.uniform(0.05, 0.12), rng.uniform(0.2, 0.6) if weather in ("low", "dusk") else 0.12, 1.0)
    if weather not in ("overcast", "studio"):
        picture = picture + warm * (0.35 * np.clip(toward, 0, 1) ** 8 + 0.5 * np.clip(toward, 0, 1) ** 90)

    cover = {"clear": 0.15, "cloudy": 0.55, "overcast": 0.9, "low": 0.4, "dusk": 0.4, "studio": 0.0}[weather]
    cover *= rng.uniform(0.6, 1.3)
    if cover > 0.05:
        size = 512
        noise = patterns.spectral(rng, size, slope=rng.uniform(1.2, 1.7), lowest=2)
        # Clouds lie on a plane overhead, so they shrink and thicken towards the horizon.
        lift = np.maximum(z, 0.05)
        reach = rng.uniform(0.05, 0.2)
        i = ((x / lift * reach) % 1 * size).astype(int) % size
        j = ((y / lift * reach) % 1 * size).astype(int) % size
        thick = patterns.step(noise[j, i], 1 - cover, rng.uniform(0.15, 0.6))[..., None]
        thick *= np.clip(z[..., None] / 0.12, 0, 1)
        lit = (0.75 + 0.25 * toward) * (warm if weather != "overcast" else 1.0) * rng.uniform(0.75, 0.98)
        shaded = lit * (1 - rng.uniform(0.2, 0.6) * noise[j, i][..., None])
        picture = picture + (shaded - picture) * thick * rng.uniform(0.6, 1.0)
    if weather not in ("overcast", "studio"):
        picture = np.where(toward > np.cos(0.012), 1.0, picture)

    horizon_height = np.zeros((1, w))
    if rng.random() < 0.6:
        ridge = patterns.spectral(rng, 1024, slope=1.3)[0, :: 1024 // w + 1]
        ridge = np.interp(np.arange(w), np.linspace(0, w - 1, len(ridge)), ridge)
        blend = np.linspace(0, 1, w) ** 8  # closes the circle
        horizon_height = (rng.uniform(0.02, 0.15) * (ridge * (1 - blend) + ridge[0] * blend))[None]
    below = z < horizon_height
    far = horizon + (ground - horizon) * rng.uniform(0.2, 0.6)
    picture = np.where(below[..., None], np.where((z < 0)[..., None], 0.5 * (ground + far), far), picture)
    picture = np.clip(picture, 0, 1)

    weight = np.sin(polar)[..., None]
    above = (picture * weight * (z > 0)[..., None]).sum((0, 1)) / (weight * (z > 0)[..., None]).sum()
    cloudy = rng.uniform(1.0, 2.5)
    strength = {"clear": 3.0, "cloudy": cloudy, "overcast": 0.0, "low": 2.2, "dusk": 0.7, "studio": 0.6}
    colour = warm * strength[weather] * rng.uniform(0.7, 1.2)
    below = above * ground * rng.uniform(0.8, 1.5)
    return Sky(np.round(np.sqrt(picture) * 255).astype(np.uint8), sun, colour, above, below, horizon)

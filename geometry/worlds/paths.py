"""Ways in which a person or a rig moves a camera: proposals, not yet checked against the world.

A path maps a stage (where cameras may stand, what they look at) to camera centres, points looked at and
rolls. Proposals keep to the stand box; whether a view is any good is for `cameras.sample_cameras` to judge.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Proposal(NamedTuple):
    centres: NDArray  # [n, 3]
    targets: NDArray  # [n, 3] points on the optical axis
    roll: NDArray  # [n] radians about the axis


def _start(rng: np.random.Generator, stand: NDArray, focus: NDArray) -> tuple[NDArray, NDArray]:
    """A place to stand and something to look at, not too near each other."""
    target = focus[rng.integers(len(focus))] + rng.normal(0, 0.03, 3) * (stand[1] - stand[0])
    places = rng.uniform(stand[0], stand[1], (6, 3))
    far = np.linalg.norm(places - target, axis=1)
    return places[np.argsort(far)[rng.integers(2, 6)]], target


def _smooth(rng: np.random.Generator, n: int, columns: int) -> NDArray:
    """Smooth random curves [n, columns], about unit size: a hand's sway."""
    s = np.linspace(0, 1, n)[:, None, None]
    frequency = np.arange(1, 4) * rng.uniform(0.5, 1.5)
    waves = np.sin(2 * np.pi * (s * frequency + rng.random((columns, 3))))
    return (waves * rng.standard_normal((columns, 3)) / frequency).sum(-1)


def _roll(rng: np.random.Generator, n: int, degrees: float) -> NDArray:
    return np.radians(degrees) * (0.6 * rng.standard_normal() + 0.4 * rng.standard_normal(n))


def _around(centre: NDArray, radius: NDArray, azimuth: NDArray, elevation: NDArray) -> NDArray:
    flat = radius * np.cos(elevation)
    away = np.stack((flat * np.cos(azimuth), flat * np.sin(azimuth), radius * np.sin(elevation)), -1)
    return centre + away


def _polar(place: NDArray, target: NDArray) -> tuple[float, float, float]:
    away = place - target
    radius = max(float(np.linalg.norm(away)), 1e-3)
    return radius, float(np.arctan2(away[1], away[0])), float(np.arcsin(np.clip(away[2] / radius, -1, 1)))


def orbit(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """Part or whole of a circle around one thing, with some rise and sway."""
    place, target = _start(rng, stand, focus)
    radius, azimuth, elevation = _polar(place, target)
    sweep = np.radians(rng.uniform(25, 360)) * rng.choice([-1, 1])
    sway = _smooth(rng, n, 3)
    centres = _around(
        target,
        radius * (1 + 0.08 * sway[:, 0]),
        azimuth + sweep * np.linspace(0, 1, n),
        elevation + 0.1 * sway[:, 1] + rng.uniform(-0.3, 0.3) * np.linspace(0, 1, n),
    )
    return Proposal(centres, target + 0.06 * radius * _smooth(rng, n, 3), _roll(rng, n, 3))


def forward(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """A walk towards, or away from, something, looking ahead."""
    place, target = _start(rng, stand, focus)
    way = (target - place) * (1, 1, 0.15)
    along = np.linspace(0, rng.uniform(0.25, 0.8), n)[:, None]
    reach = np.linalg.norm(way)
    centres = place + along * way + 0.02 * reach * _smooth(rng, n, 3) * (1, 1, 0.5)
    if rng.random() < 0.25:
        centres = centres[::-1]
    beyond = target + way * rng.uniform(0.3, 1.5)
    return Proposal(centres, beyond + 0.1 * reach * _smooth(rng, n, 3), _roll(rng, n, 3))


def handheld(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """A hand-held clip: small moves and turns around one place."""
    place, target = _start(rng, stand, focus)
    reach = np.linalg.norm(target - place)
    amount = reach * rng.uniform(0.04, 0.25)
    centres = place + amount * _smooth(rng, n, 3) * (1, 1, 0.5)
    return Proposal(centres, target + reach * rng.uniform(0.02, 0.25) * _smooth(rng, n, 3), _roll(rng, n, 8))


def looks(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """Photos from random places of one region at one thing."""
    place, target = _start(rng, stand, focus)
    size = (stand[1] - stand[0]) * rng.uniform(0.15, 0.6)
    centres = place + rng.uniform(-0.5, 0.5, (n, 3)) * size
    reach = np.linalg.norm(target - place)
    return Proposal(
        centres, target + rng.uniform(0.05, 0.3) * reach * rng.standard_normal((n, 3)), _roll(rng, n, 6)
    )


def wide(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """Few photos far apart around one thing, at various distances."""
    place, target = _start(rng, stand, focus)
    radius, azimuth, elevation = _polar(place, target)
    span = np.radians(rng.uniform(40, 160))
    centres = _around(
        target,
        radius * np.exp(rng.uniform(-0.4, 0.3, n)),
        azimuth + span * rng.uniform(-0.5, 0.5, n),
        elevation + rng.uniform(-0.25, 0.25, n),
    )
    return Proposal(centres, target + 0.12 * radius * rng.standard_normal((n, 3)), _roll(rng, n, 8))


def slide(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """Sideways on a line, looking the same way."""
    place, target = _start(rng, stand, focus)
    axis = target - place
    side = np.cross(axis, (0, 0, 1.0)) * rng.uniform(0.3, 1.2)
    side[2] += rng.uniform(-0.2, 0.2) * np.linalg.norm(axis)
    along = np.linspace(-0.5, 0.5, n)[:, None]
    shift = along * side + 0.02 * np.linalg.norm(axis) * _smooth(rng, n, 3)
    return Proposal(place + shift, target + shift * rng.uniform(0.4, 1.0), _roll(rng, n, 2))


def pan(rng: np.random.Generator, stand: NDArray, focus: NDArray, n: int) -> Proposal:
    """Turning on the spot with the camera at arm's length."""
    place, target = _start(rng, stand, focus)
    radius, azimuth, elevation = _polar(target, place)
    step = np.radians(rng.uniform(4, 22)) * rng.choice([-1, 1])
    angles = azimuth + step * (np.arange(n) - n / 2)
    arm = min(rng.uniform(0.03, 0.2) * radius, 0.8)
    level = np.full(n, elevation * 0.5) + 0.08 * _smooth(rng, n, 1)[:, 0]
    centres = _around(place, np.full(n, arm), angles, level * 0) + 0.1 * arm * _smooth(rng, n, 3)
    return Proposal(centres, _around(centres, np.full(n, radius), angles, level), _roll(rng, n, 3))


PATHS: dict[str, Callable[..., Proposal]] = {
    path.__name__: path for path in (orbit, forward, handheld, looks, wide, slide, pan)
}
SHARES = (0.22, 0.15, 0.17, 0.14, 0.12, 0.12, 0.08)  # of clips, where the path is drawn


def look_at(centres: NDArray, targets: NDArray, roll: NDArray) -> NDArray:
    """World-to-camera poses [n, 4, 4], world z up, rolled clockwise about the axis."""
    ahead = targets - centres
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
    # Straight up or down leaves "right" open; a nudge settles it.
    steep = np.abs(ahead[:, 2:]) > 0.999
    ahead = np.where(steep, ahead + np.array((0.05, 0, 0)), ahead)
    ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    down = np.cross(ahead, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    right, down = c * right + s * down, c * down - s * right
    pose = np.tile(np.eye(4), (len(centres), 1, 1))
    pose[:, :3, :3] = np.stack((right, down, ahead), axis=1)
    pose[:, :3, 3] = -(pose[:, :3, :3] @ centres[..., None])[..., 0]
    return pose

"""Georeferenced cameras: computed around an origin near them, since single precision ends after 7 digits.

In UTM or earth-centred coordinates a float32 resolves half a metre. Where cameras lie that far out for their
spread, an origin beside them is taken off poses and points in double precision; `Scene.origin` states it.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from geometry.ops import se3
from geometry.scenes.scene import Scene

FAR = 1000.0  # times the spread of cameras or points: beyond it, rounding moves points by 1e-4 of that
_ALONE = 10.0  # spread assumed of a single place; georeferenced worlds are in metres


def around_local_origin(scene: Scene) -> Scene:
    """The scene in its world, or with the origin moved to its cameras where those lie far out."""
    if not scene.known:
        return scene
    centres = se3.centres(torch.from_numpy(scene.select(scene.known).extrinsics)).numpy()
    middle = np.median(centres, axis=0)
    seen = [centres] if scene.points is None or not len(scene.points) else [centres, scene.points]
    spread = max(float(np.median(np.linalg.norm(part - middle, axis=1))) for part in seen) or _ALONE
    if np.linalg.norm(middle) <= FAR * spread:
        return scene
    origin = np.round(middle, -int(np.floor(np.log10(spread))))  # no more digits than it needs
    frames = tuple(
        f if f.extrinsics is None else replace(f, extrinsics=moved(f.extrinsics, origin))
        for f in scene.frames
    )
    points = None if scene.points is None else scene.points - origin
    return replace(scene, frames=frames, points=points, origin=origin)


def moved(
    extrinsics: Float[np.ndarray, "*V 4 4"], origin: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "*V 4 4"]:
    """World-to-camera poses in the world whose origin was moved there."""
    out = extrinsics.copy()
    out[..., :3, 3] += extrinsics[..., :3, :3] @ origin
    return out

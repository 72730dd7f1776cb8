"""Photos that no perspective view can show whole, as several that are one rig.

Equirectangular photos give six around, one up, one down, 100 degrees each; those of a lens of more than 140
degrees one ahead and some to the sides (`geometry.formats.distortion.wide_views`). A photo with a pose gives
posed views; one alone without a pose gives views whose turns are known, in the photo's own frame (x right, y
down, z to its middle). Of several without poses only intrinsics are known, and `snapped` brings what was
estimated for the views of each back into one rig.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from jaxtyping import Float

from geometry.formats.distortion import Lens, pinhole_intrinsics, sphere, wide_views
from geometry.scenes.scene import Frame, Scene

# Rotation vectors of the views: from the panorama's frame to the view's.
_UP = (-math.pi / 2, 0.0, 0.0)
_TURNS = [*((0.0, -k * math.pi / 3, 0.0) for k in range(6)), _UP, (math.pi / 2, 0.0, 0.0)]
_XMP_WITHIN = 1 << 18  # bytes at a file's start in which its XMP is looked for
SOURCE = "the panorama's own views"


def has_shape(size: tuple[int, int]) -> bool:
    """Whether a photo of (H, W) is twice as wide as high."""
    return abs(size[1] - 2 * size[0]) <= 1


def says_so(path: Path) -> bool:
    """Whether a photo's XMP (Google's GPano) calls it a whole equirectangular panorama."""
    with path.open("rb") as file:
        start = file.read(_XMP_WITHIN)
    at = start.find(b"GPano:ProjectionType")
    return at >= 0 and b"equirectangular" in start[at : at + 60]


def recognised(scene: Scene, every: bool) -> Scene:
    """The scene with panoramas among its photos without cameras cut into views.

    Args:
        every: all photos twice as wide as high are panoramas; else their XMP must say so.
    """

    def seen(frame: Frame) -> Frame:
        path = frame.image
        if frame.lens is not None or frame.intrinsics is not None or not has_shape(frame.image_size):
            return frame
        if not (every or (isinstance(path, Path) and says_so(path))):
            return frame
        lens = sphere(frame.image_size)
        return replace(frame, lens=lens, image_size=lens.pinhole_size, intrinsics=pinhole_intrinsics(lens))

    return with_views(replace(scene, frames=tuple(map(seen, scene.frames))))


def _view_lenses(frame: Frame) -> tuple[Lens, ...]:
    """The lenses of the views into which a frame is to be cut; none where it stays whole."""
    lens = frame.lens
    if lens is None or frame.rig or frame.quarter_turns:
        return ()
    if lens.family == "panorama":
        return tuple(replace(lens, turn=turn) for turn in _TURNS)
    return wide_views(lens)


def with_views(scene: Scene) -> Scene:
    """The scene with each panorama or very wide photo replaced by its views; others stay as they are."""
    if not any(map(_view_lenses, scene.frames)):
        return scene
    alone = len(scene) == 1 and scene.frames[0].extrinsics is None
    frames: list[Frame] = []
    visibility: list[np.ndarray] = []
    for index, frame in enumerate(scene.frames):
        views = _views(replace(frame, extrinsics=np.eye(4)) if alone else frame) or [frame]
        frames += views
        if scene.visibility is not None:
            seen = scene.visibility[index]
            visibility += [_inside(view, scene.points, seen) for view in views] if len(views) > 1 else [seen]
    return replace(
        scene,
        frames=tuple(frames),
        visibility=None if scene.visibility is None else tuple(visibility),
        source=SOURCE if alone else scene.source,
    )


def _views(frame: Frame) -> list[Frame]:
    path = PurePosixPath(frame.name)
    return [
        replace(
            frame,
            name=str(path.with_name(f"{path.stem}_view{k}{path.suffix}")),
            lens=lens,
            image_size=lens.pinhole_size,
            intrinsics=pinhole_intrinsics(lens),
            extrinsics=None if frame.extrinsics is None else _pose(lens.turn) @ frame.extrinsics,
            depth=None if any(lens.turn) else frame.depth,  # along another axis
            rig=frame.name,
        )
        for k, lens in enumerate(_view_lenses(frame))
    ]


def _pose(turn: tuple[float, ...]) -> Float[np.ndarray, "4 4"]:
    """From a panorama's frame to that of its view."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn))[0]
    return pose


def _inside(view: Frame, points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Those of a panorama's points that lie in a view of it."""
    local = points[seen] @ view.extrinsics[:3, :3].T + view.extrinsics[:3, 3]  # type: ignore[index]
    ahead, seen = local[:, 2] > 1e-9, np.asarray(seen)
    local, seen = local[ahead], seen[ahead]
    pixels = (local @ view.intrinsics.T)[:, :2] / local[:, 2:]  # type: ignore[union-attr]
    H, W = view.image_size
    return seen[((pixels >= 0) & (pixels <= (W, H))).all(axis=1)]


def snapped(
    scene: Scene, poses: Mapping[int, Float[np.ndarray, "4 4"]], wanted: Sequence[int]
) -> dict[int, Float[np.ndarray, "4 4"]]:
    """World-to-camera poses by index, those of each panorama's views made one rig.

    The rig stands at the median of its views' centres, turned as the mean of what they say; ``wanted`` views
    of a rig that have no pose get theirs from it.
    """
    rigs: dict[str, list[int]] = {}
    for index in wanted:
        if rig := scene.frames[index].rig:
            rigs.setdefault(rig, []).append(index)
    out = dict(poses)
    for members in rigs.values():
        known = [i for i in members if i in poses]
        if not known:
            continue
        local = {i: _pose(scene.frames[i].lens.turn)[:3, :3] for i in members}  # type: ignore[union-attr]
        left, _, right = np.linalg.svd(sum(local[i].T @ poses[i][:3, :3] for i in known))
        turn = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
        centre = np.median([-poses[i][:3, :3].T @ poses[i][:3, 3] for i in known], axis=0)
        for i in members:
            out[i] = np.eye(4)
            out[i][:3, :3] = local[i] @ turn
            out[i][:3, 3] = -local[i] @ turn @ centre
    return out

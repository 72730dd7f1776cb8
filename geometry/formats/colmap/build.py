"""A COLMAP model of cameras and points that came from elsewhere."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from geometry.formats.colmap.records import ColmapCamera, ColmapImage, ColmapModel, ColmapPoints


def model_from_cameras(
    names: Sequence[str],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    image_sizes: Sequence[tuple[int, int]],
    *,
    points: Float[np.ndarray, "N 3"] | None = None,
    colours: UInt8[np.ndarray, "N 3"] | None = None,
    seen_by: Int[np.ndarray, " N"] | None = None,
) -> ColmapModel:
    """A PINHOLE model of known cameras, one camera per photo, ids from 1.

    Args:
        image_sizes: (H, W) of each photo, to which its intrinsics refer.
        seen_by: the one view that observes each point; its keypoint is the projection there. Without
            it the points have empty tracks.
    """
    cameras, images = {}, {}
    xyz = np.zeros((0, 3)) if points is None else np.asarray(points, dtype=np.float64)
    tracks: list[np.ndarray] = [np.zeros((0, 2), np.int64)] * len(xyz)
    for v, name in enumerate(names):
        K, pose = np.asarray(intrinsics[v], dtype=np.float64), np.asarray(extrinsics[v], dtype=np.float64)
        params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        cameras[v + 1] = ColmapCamera(
            model="PINHOLE",
            image_size=(image_sizes[v][0], image_sizes[v][1]),
            params=tuple(map(float, params)),
        )
        rows = np.flatnonzero(seen_by == v) if seen_by is not None else np.zeros(0, np.int64)
        local = xyz[rows] @ pose[:3, :3].T + pose[:3, 3]
        keypoints = local[:, :2] / local[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]
        for index, row in enumerate(rows):
            tracks[row] = np.array([[v + 1, index]])
        images[v + 1] = ColmapImage(
            name=name, camera_id=v + 1, extrinsics=pose, keypoints=keypoints, point_ids=rows + 1
        )
    grey = np.full((len(xyz), 3), 128, np.uint8)
    return ColmapModel(
        cameras=cameras,
        images=images,
        points=ColmapPoints(
            ids=np.arange(1, len(xyz) + 1),
            xyz=xyz,
            rgb=grey if colours is None else np.asarray(colours, np.uint8),
            errors_px=np.zeros(len(xyz)),
            tracks=tuple(tracks),
        ),
    )

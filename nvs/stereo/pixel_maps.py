"""Where the pixels of one view lie in another, as two matrices."""

import numpy as np
from jaxtyping import Float, Int

from geometry.ops import se3
from geometry.views import Cameras


def pixel_maps(
    cameras: Cameras, others: Int[np.ndarray, "V S"], views: Int[np.ndarray, " B"] | None = None
) -> Float[np.ndarray, "B S 2 3 3"]:
    """Matrices (A, B) for every view and each of its others: pixels are mapped by A + B / depth.

    The map takes homogeneous pixel indices (the first centre is 0, as arrays and OpenCV count) of a point at
    a z-depth to its indices in the other view, times a third component: the z-depth there over that here.
    """
    to_centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    from_centre = np.linalg.inv(to_centre)
    extrinsics, intrinsics = (t[0].double().cpu() for t in (cameras.extrinsics, cameras.intrinsics))
    back, K = se3.invert(extrinsics), intrinsics.numpy()
    views = np.arange(len(others)) if views is None else views
    maps = np.empty((len(views), others.shape[1], 2, 3, 3))
    for i, view in enumerate(views.tolist()):
        row = others[view].tolist()
        rays = np.linalg.inv(K[view]) @ to_centre
        for s, other in enumerate(row):
            relative = (extrinsics[other] @ back[view]).numpy()
            maps[i, s, 0] = from_centre @ K[other] @ relative[:3, :3] @ rays
            # A ray's third component is 1: the shift meets it alone.
            maps[i, s, 1] = np.outer(from_centre @ K[other] @ relative[:3, 3], rays[2])
    return maps

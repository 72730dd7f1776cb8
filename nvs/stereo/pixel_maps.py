"""Where the pixels of one view lie in another, as two matrices."""

import numpy as np
from jaxtyping import Float, Int

from geometry.ops import se3
from geometry.views import Cameras


def pixel_maps(cameras: Cameras, others: Int[np.ndarray, "V S"]) -> Float[np.ndarray, "V S 2 3 3"]:
    """Matrices (A, B) for every view and each of its others: pixels are mapped by A + B / depth.

    The map takes homogeneous pixel indices (the first centre is 0, as arrays and OpenCV count) of a point at
    a z-depth to its indices in the other view, times a third component: the z-depth there over that here.
    """
    to_centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    from_centre = np.linalg.inv(to_centre)
    extrinsics, intrinsics = (t[0].double().cpu() for t in (cameras.extrinsics, cameras.intrinsics))
    back, K = se3.invert(extrinsics), intrinsics.numpy()
    maps = np.empty((*others.shape, 2, 3, 3))
    for view, row in enumerate(others.tolist()):
        rays = np.linalg.inv(K[view]) @ to_centre
        for s, other in enumerate(row):
            relative = (extrinsics[other] @ back[view]).numpy()
            maps[view, s, 0] = from_centre @ K[other] @ relative[:3, :3] @ rays
            # A ray's third component is 1: the shift meets it alone.
            maps[view, s, 1] = np.outer(from_centre @ K[other] @ relative[:3, 3], rays[2])
    return maps

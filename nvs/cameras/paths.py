"""Camera paths by name."""

from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.cameras.orbit import orbit
from nvs.cameras.released import released
from nvs.cameras.spline import spline
from nvs.options import PATHS


def camera_path(
    name: str,
    cameras: Cameras,
    image_size: tuple[int, int],
    *,
    depth: Float[Tensor, "B V H W"] | None = None,
    frames: int = 120,
) -> Cameras:
    """The path of this name (see `PATHS`) around or through the given cameras, in their world.

    Args:
        image_size: (H, W) to which the intrinsics refer, before and after.
        depth: z-depth of the cameras' images; ``orbit`` needs it where the optical axes do not meet.
        frames: length of ``orbit`` and ``spline``; the released paths have lengths of their own.

    Raises:
        InputError: an unknown name, or too few views for the path.
    """
    if name not in PATHS:
        raise InputError(f"camera path {name!r}: expected one of {', '.join(PATHS)}")
    device = cameras.extrinsics.device
    cameras = cameras.to("cpu")  # SciPy, OpenCV and short loops over poses: nothing for a GPU
    if name == "orbit":
        path = orbit(cameras, depth=None if depth is None else depth.cpu(), frames=frames)
    elif name == "spline":
        path = spline(cameras, frames=frames)
    else:
        path = released(name, cameras, image_size)
    return path.to(device)

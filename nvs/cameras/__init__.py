"""Cameras for rendering: named paths, paths from files, fitting to a size, the up axis."""

from nvs.cameras.files import cameras_and_size, cameras_from_file
from nvs.cameras.orbit import orbit
from nvs.cameras.paths import PATHS, camera_path
from nvs.cameras.released import RELEASED_MODES, released
from nvs.cameras.spline import spline

__all__ = [
    "PATHS",
    "RELEASED_MODES",
    "camera_path",
    "cameras_and_size",
    "cameras_from_file",
    "orbit",
    "released",
    "spline",
]

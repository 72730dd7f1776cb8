"""COLMAP sparse models: binary and text read, binary written.

Poses are world-to-camera with OpenCV axes and pixels put the first centre at (0.5, 0.5): our own
conventions, so nothing is converted but the quaternion (scalar first).

Source: layouts as COLMAP's documentation gives them ("Output Format").
"""

from geometry.formats.colmap.files import (
    find_model,
    is_model,
    numbered_models,
    photo_names,
    read_cameras,
    read_model,
    write_model,
)
from geometry.formats.colmap.records import ColmapCamera, ColmapModel, model_from_cameras

__all__ = [
    "ColmapCamera", "ColmapModel", "find_model", "is_model", "model_from_cameras", "numbered_models",
    "photo_names", "read_cameras", "read_model", "write_model",
]  # fmt: skip

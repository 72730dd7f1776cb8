"""Feed-forward geometry: photos to depth, cameras and points with Depth Anything 3.

    import geometry

    model = geometry.load("small")
    scene = model.predict("photos/")  # a folder, a video, paths, arrays, tensors or PIL images
    scene.save("scene/")

Names are imported when they are first used, so that ``import geometry`` is quick.
"""

import importlib
from typing import TYPE_CHECKING

from geometry.load_order import load_zlib_first

load_zlib_first()

if TYPE_CHECKING:
    from geometry.api import Model, load
    from geometry.errors import InputError
    from geometry.models.da3 import DepthAnything3
    from geometry.options import NetworkOptions, PhotoOptions
    from geometry.outputs import Prediction
    from geometry.prediction import Geometry
    from geometry.scenes.photos import open_photos
    from geometry.views import Cameras, Views

__version__ = "0.1.0"
__all__ = [
    "Cameras",
    "DepthAnything3",
    "Geometry",
    "InputError",
    "Model",
    "NetworkOptions",
    "PhotoOptions",
    "Prediction",
    "Views",
    "__version__",
    "load",
    "open_photos",
]

_HOMES = {
    "Cameras": "geometry.views",
    "DepthAnything3": "geometry.models.da3",
    "Geometry": "geometry.prediction",
    "InputError": "geometry.errors",
    "Model": "geometry.api",
    "NetworkOptions": "geometry.options",
    "PhotoOptions": "geometry.options",
    "Prediction": "geometry.outputs",
    "Views": "geometry.views",
    "load": "geometry.api",
    "open_photos": "geometry.scenes.photos",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

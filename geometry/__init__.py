"""Feed-forward geometry: photos to depth, cameras and points with Depth Anything 3.

    import geometry

    model = geometry.load("small")
    scene = model.predict("photos/")  # a folder, a video, paths, arrays, tensors or PIL images
    scene.save("scene/")

Names are imported when they are first used, so that ``import geometry`` is quick.
"""

from typing import TYPE_CHECKING

from geometry.load_order import lazy_names, load_zlib_first

load_zlib_first()

if TYPE_CHECKING:
    from geometry.api import Model as Model
    from geometry.api import load as load
    from geometry.errors import InputError as InputError
    from geometry.models.da3 import DepthAnything3 as DepthAnything3
    from geometry.options import NetworkOptions as NetworkOptions
    from geometry.options import PhotoOptions as PhotoOptions
    from geometry.outputs import Prediction as Prediction
    from geometry.prediction import Geometry as Geometry
    from geometry.scenes.photos import open_photos as open_photos
    from geometry.views import Cameras as Cameras
    from geometry.views import Views as Views

__version__ = "0.1.0"
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
__all__ = [*_HOMES, "__version__"]
__getattr__, __dir__ = lazy_names(globals(), _HOMES)

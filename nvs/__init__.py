"""Novel views of photos: Gaussians from a feed-forward network, rendered, refined, trained, saved.

    import nvs

    scene = nvs.load("tiny").predict("photos/", refine=150)
    scene.save("scene.ply")
    views = scene.render(scene.cameras)

Names are imported when they are first used, so that ``import nvs`` is quick.
"""

from typing import TYPE_CHECKING

from geometry.load_order import lazy_names  # its package must be there before pycolmap

if TYPE_CHECKING:
    from geometry import __version__ as __version__
    from geometry.views import Cameras as Cameras
    from geometry.views import Views as Views
    from nvs.api import Model as Model
    from nvs.api import load as load
    from nvs.api import render as render
    from nvs.gaussians import Gaussians as Gaussians
    from nvs.model.splatter import Splatter as Splatter
    from nvs.options import GaussianOptions as GaussianOptions
    from nvs.options import ViewOptions as ViewOptions
    from nvs.pipeline import Pipeline as Pipeline
    from nvs.rasterizer import rasterize as rasterize
    from nvs.scene import SplatScene as SplatScene

_HOMES = {
    "Cameras": "geometry.views",
    "GaussianOptions": "nvs.options",
    "Gaussians": "nvs.gaussians",
    "Model": "nvs.api",
    "Pipeline": "nvs.pipeline",
    "SplatScene": "nvs.scene",
    "Splatter": "nvs.model.splatter",
    "ViewOptions": "nvs.options",
    "Views": "geometry.views",
    "__version__": "geometry",
    "load": "nvs.api",
    "rasterize": "nvs.rasterizer",
    "render": "nvs.api",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = lazy_names(globals(), _HOMES)

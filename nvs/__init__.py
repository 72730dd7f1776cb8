"""Novel views of photos: Gaussians from a feed-forward network, rendered, refined, trained, saved.

    import nvs

    scene = nvs.load("tiny").predict("photos/", refine=150)
    scene.save("scene.ply")
    views = scene.render(scene.cameras)

Names are imported when they are first used, so that ``import nvs`` is quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geometry import __version__
    from geometry.views import Cameras, Views
    from nvs.api import Model, load, render
    from nvs.gaussians import Gaussians
    from nvs.model.splatter import Splatter
    from nvs.options import GaussianOptions, ViewOptions
    from nvs.pipeline import Pipeline
    from nvs.rasterizer import rasterize
    from nvs.scene import SplatScene

__all__ = [
    "Cameras",
    "GaussianOptions",
    "Gaussians",
    "Model",
    "Pipeline",
    "SplatScene",
    "Splatter",
    "ViewOptions",
    "Views",
    "__version__",
    "load",
    "rasterize",
    "render",
]

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


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

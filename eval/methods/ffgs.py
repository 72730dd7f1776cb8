"""Models of the PyPI package ffgs (TokenGS, AnySplat, C3G, ... and its plug-ins) as methods: one adapter.

Source: ffgs 0.1.0.dev1. Its TokenGS and AnySplat ran here with random weights; released ones have not.
"""

from contextlib import suppress
from typing import Any

import torch

from eval.methods.base import About, Splatted, Task
from geometry.console import say
from geometry.errors import InputError
from geometry.ops import se3
from geometry.views import Cameras
from nvs.gaussians import Gaussians

MOST_TERMS = 16  # of spherical harmonics
_GIVEN = {"required": "needed", "optional": "optional", "none": "optional"}


class Ffgs:
    """``ffgs.GSPipeline.from_pretrained(model)``: a name of its zoo, a folder or a hub repository."""

    def __init__(self, model: str, device: torch.device) -> None:
        try:
            import ffgs
        except ImportError as error:
            raise InputError(f"method=ffgs: needs the package ffgs ({error}): pip install ffgs") from error
        self._ffgs: Any = ffgs
        try:
            self._pipeline = ffgs.GSPipeline.from_pretrained(model, device=device)
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise InputError(f"method=ffgs model={model}: cannot be loaded by ffgs ({error})") from error
        self.given_poses = _GIVEN[self._pipeline.processor.camera_input]
        licence = "see its model card"
        with suppress(AttributeError, KeyError, ValueError):  # not of its zoo
            licence = str(ffgs.zoo.get_entry(model).license)
        self.about = About(
            name=f"ffgs {model}",
            weights=model,
            licence=licence,
            identity={"ffgs": str(getattr(ffgs, "__version__", "unknown")), "model": model},
        )

    @torch.no_grad()
    def predict(self, task: Task) -> Splatted:
        given = task.context.cameras
        posed: dict[str, Any] = {}
        if given is not None:
            posed = {"intrinsics": given.intrinsics, "c2w": se3.invert(given.extrinsics)}
        output = self._pipeline(self._ffgs.Views(task.context.images, **posed))
        if given is not None:
            return Splatted(gaussians=_gaussians(output.to_world().gaussians))
        found = output.cameras
        if found is None:
            raise InputError(f"{self.about.name} finds no cameras, so it needs given ones: take poses=gt")
        cameras = Cameras(extrinsics=se3.invert(found.c2w.float()), intrinsics=found.pixel_k)
        return Splatted(gaussians=_gaussians(output.gaussians), cameras=cameras)


def _gaussians(theirs: Any) -> Gaussians:
    """The same words and layouts, but plain colours become degree 0, and AnySplat's degree 4 is cut to 3."""
    sh = theirs.sh().float()
    if sh.shape[-2] > MOST_TERMS:
        say(f"{sh.shape[-2]} terms of colour: those above degree 3 are left out, nothing here draws them")
    fields = {name: getattr(theirs, name).float() for name in ("means", "quats", "scales", "opacities")}
    return Gaussians(sh=sh[..., :MOST_TERMS, :], **fields)

"""The other direction of rendering: what pictures say of the Gaussians that they show."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.scenes.view_selection import evenly_spaced
from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer.api import rasterize

MOST_ASKED = 24  # views that are asked about Gaussians


def asked_views(count: int) -> list[int]:
    """Which of so many views are asked: at most `MOST_ASKED`, from all over them."""
    return evenly_spaced(count, MOST_ASKED)


def gather(
    gaussians: Gaussians,
    camera: Cameras,
    picture: Float[Tensor, "*K 3 H W"] | Callable[[Float[Tensor, "3 H W"]], Float[Tensor, "*K 3 H W"]],
    size: tuple[int, int],
    *,
    colors: Float[Tensor, "N 3"] | None = None,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
) -> Float[Tensor, "*K 3 N"]:
    """Sums over a picture's pixels of what each Gaussian weighs there, in blending, times the pixel.

    A rendering is linear in the Gaussians' colours, so its gradient is that sum, on every backend.

    Args:
        camera: [1, 1, ...].
        picture: on that camera's image plane, or made from what is drawn there; K of them cost one drawing.
        size: (H, W) to which the intrinsics refer.
        colors: with which it is drawn; None: ones.
        background: over which; None: black.
    """
    with torch.inference_mode(False), torch.enable_grad():
        scene, camera = gaussians.map(_free), camera.map(_free)
        given = torch.ones_like(scene.means) if colors is None else _free(colors)[None]
        given.requires_grad_(True)
        behind = None if background is None else _free(background)
        rgb = rasterize(scene, camera, size, colors=given, background=behind, backend=backend).rgb[0, 0]
        pixels = picture if isinstance(picture, Tensor) else picture(rgb.detach())
        # Of sums: a gradient that is given by hand has PyTorch import a computer algebra system.
        found = [
            torch.autograd.grad((rgb * one).sum(), given, retain_graph=True)[0][0].mT
            for one in _free(pixels).reshape(-1, *rgb.shape)
        ]
        return torch.stack(found).view(*pixels.shape[:-3], *found[0].shape)


def _free(tensor: Tensor) -> Tensor:
    """Without a gradient, and not of an inference mode."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()

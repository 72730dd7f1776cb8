"""Colours of Gaussians with which pictures of them come nearer to the photos that they were made from."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.threads import in_order
from geometry.views import Views
from nvs.gaussians import SH_C0, Gaussians
from nvs.gaussians.spherical_harmonics import sh_colours
from nvs.rasterizer.gather import asked_views, gather

# Of what is missing: the first step settles large areas, the second sharpens (zeros of a polynomial in the
# eigenvalues, which are 1 for a whole surface and smaller for detail).
STEPS = (1.0, 2.0)
_SEEN = 0.5  # pixels: what is seen on fewer moves less


@torch.no_grad()
def matched_colours(
    gaussians: Gaussians, views: Views, *, background: Float[Tensor, " 3"], backend: str = "auto"
) -> Gaussians:
    """One scene's Gaussians, recoloured so that pictures of them resemble the photos more.

    A Gaussian's colour is a mean of pixels, and a picture a mean of Gaussians that overlap: blurred twice.
    Pictures are linear in the colours, so each is moved by what the photos show beyond the pictures, in the
    mean over the pixels where it is seen, by blending weight.

    Args:
        views: with cameras in the Gaussians' world; what their masks hide says nothing.
        background: behind the Gaussians; on their device.

    Source: simultaneous iterative reconstruction (SIRT), Gilbert 1972.
    """
    size, asked = views.image_size, asked_views(views.images.shape[1])
    assert views.cameras is not None
    sh, weights = gaussians.sh, None

    def missing(v: int) -> Float[Tensor, "*K 3 N"]:
        camera = views.cameras[:, v : v + 1]
        away = gaussians.means[0] - se3.centres(camera.extrinsics)[0, 0]
        colors = sh_colours(sh[0], away, gaussians.sh_degree)
        photo = views.images[0, v].to(colors)
        used = 1.0 if views.mask is None else views.mask[0, v].to(colors)

        def residual(drawn: Float[Tensor, "3 H W"]) -> Float[Tensor, "*K 3 H W"]:
            left = (photo - drawn) * used
            return torch.stack((left, torch.ones_like(left))) if weights is None else left

        return gather(
            gaussians, camera, residual, size, colors=colors, background=background, backend=backend
        )

    for step in STEPS:
        total = sum(in_order(missing, asked, sh.device), sh.new_zeros(()))
        if weights is None:
            total, weights = total[0], total[1, 0].clamp(min=_SEEN)
        moved = sh[0, :, 0] + step / SH_C0 * (total / weights).mT
        sh = torch.cat((moved[None, :, None], sh[:, :, 1:]), dim=2)
    return replace(gaussians, sh=sh)

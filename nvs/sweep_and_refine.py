"""Novel views with no network at all, as a function: what `nvs render --depth sweep --refine` does.

For benchmarks: ``nvs-eval run ... method=nvs.sweep_and_refine:novel_views`` with 400 steps, and
``:novel_views_unrefined`` with none.
"""

from jaxtyping import Float
from torch import Tensor

from geometry.views import Cameras, Views
from nvs.adapter import GaussianAdapter
from nvs.grid import resize_cameras, spaced_grid
from nvs.holdout import resize_images
from nvs.lift import REFINED_SPACING, SWEEP_SPACING, lift_colours, sweep_views
from nvs.rasterize import rasterize
from nvs.refine import refine
from nvs.splatter import owners

STEPS = 400


def novel_views(
    context: Views, targets: Cameras, size: tuple[int, int], steps: int = STEPS
) -> Float[Tensor, "1 T 3 H W"]:
    """Images at the targets from posed context views, sweep and refinement in between.

    Args:
        targets: for images of ``size``.
    """
    spacing = REFINED_SPACING if steps else SWEEP_SPACING
    grid = spaced_grid(context.image_size, spacing)
    splats = lift_colours(GaussianAdapter("rgb"), context, sweep_views(context), grid)
    gaussians = splats.gaussians
    background = context.images.mean(dim=(0, 1, 3, 4))
    if steps:
        factor = max(size) / max(context.image_size)
        fitted = round(context.image_size[0] * factor), round(context.image_size[1] * factor)
        photos = Views(
            images=resize_images(context.images, fitted),
            cameras=resize_cameras(context.cameras, context.image_size, fitted),
        )
        gaussians = refine(
            gaussians, photos, steps=steps, owners=owners(splats), background=background
        ).gaussians
    return rasterize(gaussians, targets, size, background=background).rgb.clamp(0, 1)


def novel_views_unrefined(
    context: Views, targets: Cameras, size: tuple[int, int]
) -> Float[Tensor, "1 T 3 H W"]:
    """The same straight from the sweep."""
    return novel_views(context, targets, size, steps=0)


for _function in (novel_views, novel_views_unrefined):
    _function.weights, _function.licence, _function.given_poses = "no weights", "-", "needed"

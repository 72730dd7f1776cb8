"""Novel views of posed photos with nothing to download, as functions: what `nvs render --refine` does.

For benchmarks: ``nvs-eval run ... method=nvs.sweep_and_refine:novel_views`` takes no network and 400 steps,
``:novel_views_tiny`` lets the bundled model say how Gaussians look; ``..._unrefined`` takes no steps.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops.images import resize_images
from geometry.views import Cameras, Views
from geometry.weights.checkpoints import find_checkpoint
from nvs.lift import REFINED_SPACING, SWEEP_SPACING, lift_colours, lift_sweep, sweep_views
from nvs.model.parametrisation import GaussianAdapter
from nvs.model.pooling import resize_cameras, spaced_grid
from nvs.model.splatter import Splatter, load_splatter, owners
from nvs.rasterizer import rasterize
from nvs.refine.optimise import refine

STEPS = 400
NETWORK = {"reference": "saddle_balanced", "chunk": 8}


def novel_views(
    context: Views,
    targets: Cameras,
    size: tuple[int, int],
    steps: int = STEPS,
    splatter: Splatter | None = None,
) -> Float[Tensor, "1 T 3 H W"]:
    """Images at the targets from posed context views, sweep and refinement in between.

    Args:
        targets: for images of ``size``.
        splatter: its head says how Gaussians look; without one they are the photos' colours.
    """
    spacing = REFINED_SPACING if steps else SWEEP_SPACING
    grid = spaced_grid(context.image_size, spacing)
    stereo = sweep_views(context)
    if splatter is None:
        splats = lift_colours(GaussianAdapter("rgb"), context, stereo, grid)
    else:
        with torch.inference_mode():
            splats = lift_sweep(splatter, context, stereo, grid, has_head=True, **NETWORK)
        splats = splats.map(torch.clone)  # refinement wants ordinary tensors
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


def novel_views_tiny(
    context: Views, targets: Cameras, size: tuple[int, int], steps: int = STEPS
) -> Float[Tensor, "1 T 3 H W"]:
    """As `novel_views`, with the bundled model's head."""
    splatter = bundled_splatter().to(context.images.device)
    return novel_views(context, targets, size, steps=steps, splatter=splatter)


def novel_views_tiny_unrefined(
    context: Views, targets: Cameras, size: tuple[int, int]
) -> Float[Tensor, "1 T 3 H W"]:
    """The same without refinement."""
    return novel_views_tiny(context, targets, size, steps=0)


@cache
def bundled_splatter() -> Splatter:
    """The bundled model; loaded once.

    Raises:
        InputError: its file is not there, or has no Gaussian head.
    """
    splatter, has_head = load_splatter(find_checkpoint("tiny"))
    if not has_head:
        raise InputError("tiny: expected the bundled file with its Gaussian head, got a model without one")
    return splatter


for _function in (novel_views, novel_views_unrefined):
    _function.weights, _function.licence, _function.given_poses = "no weights", "-", "needed"

for _function in (novel_views_tiny, novel_views_tiny_unrefined):
    _function.weights, _function.licence, _function.given_poses = "bundled", "Apache-2.0", "needed"

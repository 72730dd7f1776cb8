"""Held-out photos, and scores of renderings from their cameras."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops.align import DegenerateAlignment
from geometry.predict import Network, predict_geometry
from geometry.views import Cameras, Views
from nvs.cameras.transform import carry_cameras
from nvs.gaussians import Gaussians
from nvs.metrics import Scores, colour_aligned
from nvs.model.pooling import resize_cameras
from nvs.rasterizer import rasterize


@dataclass(frozen=True)
class Holdout:
    """Target photos at the rendered size, with cameras in the Gaussians' world."""

    names: list[str]
    images: Float[Tensor, "1 T 3 H W"]
    cameras: Cameras
    alignment: str  # how the targets' cameras came into that world
    mask: Bool[Tensor, "1 T H W"] | None = None  # False where photos do not count


def place_targets(
    network: Network,
    context: Views,
    context_cameras: Cameras,
    targets: Views,
    names: list[str],
    photos: Views,
    **options: Any,
) -> Holdout:
    """Targets at their cameras: given ones as they are, others by the network and a similarity.

    Without poses a second pass over context and targets together places the targets, in a world of its
    own. The similarity between its context cameras and those of the first pass carries them over. Gaussians
    come from the first pass, so no target pixel enters them.

    Args:
        photos: what ``targets`` show, at the size to compare at.
        options: for `predict_geometry`.
    """
    cameras, alignment = targets.cameras, "given poses"
    if cameras is None:
        together = Views(images=torch.cat((context.images, targets.images.to(context.images)), dim=1))
        second = predict_geometry(network, together, **options).cameras
        V = context_cameras.extrinsics.shape[1]
        try:
            # Autocast is for the network alone: in bfloat16 cameras would turn by up to half a degree.
            with torch.autocast(targets.images.device.type, enabled=False):
                cameras = carry_cameras(second[:, V:], second[:, :V], context_cameras)
        except DegenerateAlignment as error:
            raise InputError(
                "hold-out without poses: expected two or more input photos from different places, "
                f"got {V} ({error})"
            ) from error
        alignment = (
            "umeyama: targets placed by a second pass over all photos, carried over by context cameras"
        )
    with torch.autocast(targets.images.device.type, enabled=False):
        placed = resize_cameras(cameras, targets.image_size, photos.image_size)
    return Holdout(names, photos.images, placed, alignment, photos.mask)


def evaluate(
    gaussians: Gaussians,
    holdout: Holdout,
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
) -> dict[str, Any]:
    """Mean and per-image metrics of renderings against the targets, ready for JSON.

    Targets are compared as they are, and once more after `nvs.metrics.colour_aligned`. A metric that cannot
    be computed is None, and ``reasons`` says why.
    """
    size = tuple(holdout.images.shape[-2:])
    scores, aligned = Scores(), Scores(("psnr", "ssim"))
    for t in range(len(holdout.names)):
        # One view at a time: memory does not grow with the number of targets.
        camera = holdout.cameras[:, t : t + 1]
        view = rasterize(gaussians, camera, size, background=background, backend=backend)  # type: ignore[arg-type]
        photo = holdout.images[:, t].to(view.rgb.device)
        mask = None if holdout.mask is None else holdout.mask[:, t].to(view.rgb.device)
        scores.add(view.rgb[0], photo, mask)
        aligned.add(colour_aligned(view.rgb[0].clamp(0, 1), photo, mask), photo, mask)
    per_image = [
        {"name": name} | {m: finite(values[t]) for m, values in scores.per_image.items() if len(values) > t}
        for t, name in enumerate(holdout.names)
    ]
    return {
        **scores.as_json(),
        "colour_aligned": {name: aligned.as_json()[name] for name in aligned.metrics},
        "exposure": "held-out photos as they are; colour_aligned: after an affine map of colours for each",
        "alignment": holdout.alignment,
        "size": list(size),
        "targets": per_image,
    }


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if abs(value) < float("inf") else None

"""Validation: fixed context views and held-out photos, scored exactly as ``nvs render --holdout`` does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.tensors import TensorRecord
from geometry.views import Views
from geometry.visualize import colour_depth, contact_sheet, depth_limits, spread, to_bytes
from nvs.data.example import NovelViewExample
from nvs.gaussians import Gaussians
from nvs.holdout import Holdout, evaluate, place_targets
from nvs.model.prune import worth_keeping
from nvs.model.splatter import Splats, Splatter
from nvs.options import METRICS
from nvs.outputs import render_frames

SHEET_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class Case(TensorRecord):
    """One validation scene."""

    name: str
    context: Views  # as the network takes them, batch size one
    targets: Views  # held-out photos; without cameras the network places them
    target_names: list[str]
    photos: Views  # what the targets show, at the size at which they are compared
    pruned: bool = True  # leave out what `nvs render` leaves out


@torch.no_grad()
def score_case(
    model: Splatter,
    case: Case,
    lift: Callable[[Views], Splats],
    *,
    placed: Holdout | None = None,
    reference: str = "saddle_balanced",
    chunk: int = 8,
    backend: str = "auto",
) -> tuple[dict[str, float], Float[Tensor, "3 h w"], Holdout]:
    """Render a case's targets from its context.

    Args:
        lift: the model's Gaussians of views, cached or not.
        placed: the targets as an earlier score placed them, where the backbone has not changed since: placing
            photos without poses costs a pass over all views.
        reference: how the network's reference view is chosen when it places photos without poses.

    Returns:
        Means over the targets, without those that cannot be computed here; a sheet of context, targets,
        renderings and depth in 0..1; and the targets in the Gaussians' world.
    """
    splats = lift(case.context)
    kept = splats.gaussians[:, worth_keeping(splats)] if case.pruned else splats.gaussians
    background = case.context.mean_colour()[0]  # as `nvs render`
    if placed is None:
        placed = place_targets(
            model.network,  # type: ignore[arg-type]
            case.context,
            splats.geometry.cameras,
            case.targets,
            case.target_names,
            case.photos,
            reference=reference,
            chunk=chunk,
        )
    with torch.autocast(case.context.images.device.type, enabled=False):  # that one is for the network
        metrics = evaluate(kept, placed, background=background, backend=backend)
        known = {name: metrics[name] for name in METRICS if metrics[name] is not None}
        return known, _sheet(case, placed, kept, background, backend), placed


def _sheet(
    case: Case, holdout: Holdout, gaussians: Gaussians, background: Float[Tensor, " 3"], backend: str
) -> Tensor:
    some = spread(len(holdout.names), SHEET_COLUMNS)
    cameras, (H, W) = holdout.cameras[:, some], case.photos.image_size
    frames = list(render_frames(gaussians, cameras, (H, W), background=background, backend=backend))
    depths = np.stack([np.where(alpha > 0.5, depth, 0) for _, depth, alpha in frames])
    photos = case.context.images[0]
    context = [to_bytes(photos[i]) for i in spread(len(photos), SHEET_COLUMNS)]
    sheet = contact_sheet(
        {
            "context": context,
            "target": [to_bytes(holdout.images[0, i]) for i in some],
            "render": [rgb for rgb, _, _ in frames],
            "depth": list(colour_depth(depths, limits=depth_limits(depths))),
        }
    )
    return torch.from_numpy(sheet).movedim(-1, 0).float() / 255


def sampled_cases(
    dataset: Any,
    count: int,
    *,
    image_size: Sequence[int],
    context: int,
    seed: int = 0,
    pruned: bool = True,
    posed: bool = True,
) -> list[Case]:
    """Cases from the first samples of a dataset of `NovelViewExample`.

    Args:
        count: how many.
        seed: of the samples. A dataset of fixed scenes gives its first ones whatever it is.
        posed: let the network see the given cameras; else it places all views itself.
    """
    H, W = image_size
    requests = [
        SampleRequest(
            index=i,
            number=i,
            step=0,
            seed=derive_seed(seed, "validation sample", i),
            image_size=(int(H), int(W)),
            views=context,
        )
        for i in range(count)
    ]
    return [
        example_case(dataset[request], f"case_{request.index:02d}", pruned=pruned, posed=posed)
        for request in requests
    ]


def example_case(example: NovelViewExample, name: str, *, pruned: bool, posed: bool) -> Case:
    """A sample of batch size one as a case."""
    context, target = example.context.views, example.target.views
    return Case(
        name=name,
        context=context if posed else Views(images=context.images),
        targets=Views(images=target.images, cameras=example.target.truth.cameras if posed else None),
        target_names=[f"target {t}" for t in range(target.images.shape[1])],
        photos=Views(images=target.images),
        pruned=pruned,
    )

"""One's own photos as training data: some held out, the rest split into context and targets.

Nothing is prepared on disk. Photos are decoded once, at the network's size, and stay in memory as bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from geometry.capture import find_cameras, load_views, most_views, open_capture, show_views
from geometry.engine.notes import note_origin
from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.options import NetworkOptions, PhotoOptions
from geometry.predict import Network, predict_geometry
from geometry.scenes.view_selection import select_views
from geometry.views import Cameras, Example, Truth, Views
from nvs.cameras.fit import default_size, window_size
from nvs.data.splits import context_and_targets
from nvs.training.cases import Case
from nvs.training.samples import RecurringExample

LEAST_PHOTOS = 4  # one held out, one target, two to triangulate


@dataclass(frozen=True, kw_only=True)
class TrainingCapture:
    """Photos of one place, ready to train on."""

    case: Case  # the held-out photos, and the context they are rendered from
    photos: UInt8[Tensor, "N 3 H W"]  # the others, at the network's size, in capture order
    mask: Bool[Tensor, "1 N H W"] | None  # theirs
    cameras: Cameras  # theirs [1, N, ...]: the given ones, or the network's
    posed: bool  # cameras are given, so the network may see them
    context_sets: list[list[int]]  # indices into photos: what the network is given in training

    def example(self, context: Sequence[int], targets: Sequence[int]) -> tuple[Example, Example]:
        """These photos as context and as targets; there are no depth labels."""
        return self._views(context, shown=self.posed), self._views(targets, shown=True)

    def _views(self, indices: Sequence[int], *, shown: bool) -> Example:
        images = (self.photos[list(indices)].float() / 255)[None]
        cameras = self.cameras[:, list(indices)]
        empty = torch.zeros(images.shape[:2] + images.shape[3:])
        return Example(
            views=Views(
                images=images,
                cameras=cameras if shown else None,
                mask=None if self.mask is None else self.mask[:, list(indices)],
            ),
            truth=Truth(cameras=cameras, depth=empty, valid=empty > 0, metric=torch.tensor([False])),
        )


def read_capture(
    path: str,
    photos: PhotoOptions,
    network: Network,
    running: NetworkOptions,
    device: torch.device,
    *,
    context_sets: int,
    targets: int,
    seed: int,
    trust_network: bool = True,
) -> TrainingCapture:
    """Open one capture as ``nvs render --holdout`` does, and plan its context sets.

    Photos that nobody else places are placed by one pass of the network over all that are trained on; each
    step then carries the targets from there into the world of its own context (`nvs.training.step`).

    Args:
        trust_network: of `geometry.capture.find_cameras`.
        photos: with ``holdout`` and ``context``.
        network: places photos without poses, as ``running`` says.
        targets: wanted beside the context in each step.

    Raises:
        InputError: too few photos.
    """
    capture = open_capture(path, photos, device)
    rest = [i for i in range(len(capture.scene)) if i not in set(capture.targets)]
    every = replace(capture, context=rest)  # whatever the context, all of them are trained on
    placed = find_cameras(every, photos.camera_source, trust_network=trust_network, seed=seed)
    if placed.scene.estimated:
        capture = placed.limited(len(capture.context))
    if len(capture.scene) < LEAST_PHOTOS:
        raise InputError(
            f"{path}: expected at least {LEAST_PHOTOS} photos (one is held out), got {len(capture.scene)}"
        )
    context, maps = load_views(capture, capture.context, photos, torch.device("cpu"))
    kept_out, kept_out_maps = load_views(capture, capture.targets, photos, torch.device("cpu"))
    case = Case(
        name=path.rstrip("/").rsplit("/", 1)[-1],
        context=context,
        targets=kept_out,
        target_names=capture.target_names,
        photos=show_views(capture, capture.targets, kept_out_maps, default_size(window_size(maps))),
    )
    chosen = [i for i in range(len(capture.scene)) if i not in set(capture.targets)]
    if not capture.scene.posed:  # as many as the network can place in one pass
        chosen = select_views(None, len(capture.scene), most_views(photos, device), chosen)
    views, _ = load_views(capture, chosen, photos, torch.device("cpu"))
    cameras = views.cameras
    if cameras is None:
        with torch.no_grad():
            options: dict[str, Any] = {"reference": running.reference, "chunk": running.chunk}
            cameras = predict_geometry(network, views.to(device), **options).cameras.to("cpu")
    count = min(len(capture.context), len(chosen) - max(1, min(targets, len(chosen) // 4)))
    poses = cameras.extrinsics[0].double().numpy()
    sets: list[list[int]] = []
    for draw in range(context_sets):
        rng = np.random.default_rng(derive_seed(seed, "context set", draw))
        found = sorted(context_and_targets(poses, count, 1, rng, extent=(0.5, 1.0))[0])
        if found not in sets:
            sets.append(found)
    return TrainingCapture(
        case=case,
        photos=(views.images[0] * 255).round().byte(),
        mask=views.mask,
        cameras=cameras,
        posed=capture.scene.posed,
        context_sets=sets,
    )


class CaptureSamples:
    """Context sets of some captures, and targets from the photos beside them.

    Args:
        targets: photos rendered in each step, near the context and far from it as they come.
    """

    def __init__(self, captures: Sequence[TrainingCapture], *, targets: int) -> None:
        self.sets = [(place, i) for place, c in enumerate(captures) for i in range(len(c.context_sets))]
        self.captures = captures
        self.targets = targets

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, request: SampleRequest) -> RecurringExample:
        place, i = self.sets[int(request)]
        capture = self.captures[place]
        context = capture.context_sets[i]
        rest = np.setdiff1d(np.arange(len(capture.photos)), context)
        rng = np.random.default_rng(request.seed)
        targets = rng.choice(rest, min(self.targets, len(rest)), replace=False)
        given, wanted = capture.example(context, targets.tolist())
        note_origin(f"{capture.case.name} (capture {place}): photos {[*context, *targets.tolist()]}")
        # By place: several captures may have one name, as folders called images do.
        return RecurringExample(context=given, target=wanted, keys=(f"capture {place} set {i}",))

    @staticmethod
    def collate(samples: list[RecurringExample]) -> RecurringExample:
        """One scene a step: captures differ in shape."""
        (sample,) = samples
        return sample

"""protocol=mono and protocol=depth: depth of photos, alone or seen together, against measured depth."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from eval.methods.geometry import Estimator
from eval.protocols.geometry import Answer, GeometryProtocol, true_depth
from eval.protocols.splits import DividedScene
from geometry.errors import InputError
from geometry.metrics.depth import Alignment, depth_metrics
from geometry.options import named

_Map = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # predicted and true depth, and what of it counts


@dataclass(frozen=True, kw_only=True)
class DepthRange:
    """Which measured depth counts, and how predictions are aligned to it.

    Args:
        alignment: of `geometry.metrics.depth.align_depth`.
        nearest, farthest: in the set's units; None: no limit. Aligned predictions are clamped to them.
        crop: (top, bottom, left, right) as shares of the image, outside of which nothing counts.
    """

    alignment: Alignment = "scale_shift"
    nearest: float | None = None
    farthest: float | None = None
    crop: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Mono(GeometryProtocol):
    """delta1, AbsRel and SqRel, means over photos; a set's mean is over its photos too, not over scenes."""

    name: ClassVar[str] = "mono"
    metrics: ClassVar[tuple[str, ...]] = ("delta1", "abs_rel", "sq_rel")
    together: ClassVar[bool] = False
    definition: ClassVar[str] = "each photo alone, bilinear to the size of the measured depth"

    def require_for(self, method: Estimator) -> None:
        if not method.single:
            raise InputError(
                f"{method.about.name} takes no photo alone: take protocol=depth, context_poses=given"
            )

    def choices(self, benchmark: Any) -> dict[str, Any]:
        return {"depth": dict(benchmark.depth)}

    def measure(self, scene: DividedScene, answer: Answer, benchmark: Any) -> dict[str, Any]:
        stated = named(DepthRange, benchmark.depth)
        names: list[str] = []
        maps: list[_Map] = []
        for frame, depth, name in zip(scene.context, answer.depth, scene.split.context):
            truth = torch.from_numpy(true_depth(frame))
            pred = F.interpolate(torch.from_numpy(depth)[None, None], size=truth.shape, mode="bilinear")[0, 0]
            valid = _counted(truth, stated)
            if valid.any():
                names.append(name)
                maps.append((pred, truth, valid))
        if not maps:
            raise InputError(f"scene {scene.split.name}: expected measured depth in range, found none")
        maps, alignment = self.aligned(maps, stated.alignment)
        limits = stated.nearest, stated.farthest
        images: list[dict[str, Any]] = []
        for name, shown in zip(names, maps):
            scores = depth_metrics(*shown, alignment=alignment, limits=limits)
            images.append({"name": name, **{metric: float(value) for metric, value in scores.items()}})
        means = {m: sum(image[m] for image in images) / len(images) for m in self.metrics}
        return {"means": means, "reasons": {}, "weight": len(images), "images": images}

    def aligned(self, maps: list[_Map], alignment: Alignment) -> tuple[list[_Map], Alignment]:
        """The maps, and how each of them is still to be aligned."""
        return maps, alignment


@dataclass(frozen=True, kw_only=True)
class Depth(Mono):
    """The same of photos seen together: in the given cameras' world as it is, else one scale for the scene.

    The scale is the ratio of medians. Pixels without predicted depth count as missed.

    Source: Schröppel et al. 2022 (robust multi-view depth) scale by medians too, but each view by itself.
    """

    name: ClassVar[str] = "depth"
    together: ClassVar[bool] = True
    definition: ClassVar[str] = "as it is with given cameras, else one ratio of medians for a scene; bilinear"

    def require_for(self, method: Estimator) -> None:
        GeometryProtocol.require_for(self, method)

    def aligned(self, maps: list[_Map], alignment: Alignment) -> tuple[list[_Map], Alignment]:
        if self.context_poses == "given":
            return maps, "none"
        pred, truth, valid = (torch.cat([part.flatten() for part in parts]) for parts in zip(*maps))
        valid &= pred > 0
        scale = truth[valid].median() / pred[valid].median() if valid.any() else 1.0
        return [(scale * pred, truth, valid) for pred, truth, valid in maps], "none"


def _counted(truth: torch.Tensor, stated: DepthRange) -> torch.Tensor:
    valid = truth > 0
    if stated.nearest is not None:
        valid &= truth > stated.nearest
    if stated.farthest is not None:
        valid &= truth < stated.farthest
    if stated.crop is not None:
        H, W = truth.shape
        top, bottom, left, right = stated.crop
        inside = torch.zeros_like(valid)
        inside[int(top * H) : int(bottom * H), int(left * W) : int(right * W)] = True
        valid &= inside
    return valid

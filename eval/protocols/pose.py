"""protocol=pose: relative poses of all pairs of a scene's photos, found without any given."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from eval.methods.geometry import Estimator
from eval.protocols.geometry import Answer, GeometryProtocol
from eval.protocols.splits import DividedScene
from geometry.errors import InputError
from geometry.metrics.pose import THRESHOLDS_DEG, pose_auc


@dataclass(frozen=True, kw_only=True)
class Pose(GeometryProtocol):
    """AUC at some angles, shares in 0..1, see `geometry.metrics.pose.pose_auc`."""

    name: ClassVar[str] = "pose"
    metrics: ClassVar[tuple[str, ...]] = tuple(f"auc{tau}" for tau in THRESHOLDS_DEG)
    definition: ClassVar[str] = "E_i^-1 E_j of all pairs; larger of both angles; whole degrees"

    def require_for(self, method: Estimator) -> None:
        if self.context_poses == "given":
            raise InputError("protocol=pose asks for poses: context_poses=given would tell them")
        super().require_for(method)

    def measure(self, scene: DividedScene, answer: Answer, benchmark: Any) -> dict[str, Any]:
        if answer.extrinsics is None:
            raise InputError(f"scene {scene.split.name}: the stored prediction has no cameras")
        truth = torch.stack([torch.from_numpy(frame.extrinsics) for frame in scene.context])
        found = pose_auc(torch.from_numpy(answer.extrinsics).double(), truth)
        return {"means": {f"auc{tau}": value for tau, value in found.items()}, "reasons": {}}

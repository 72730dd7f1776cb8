"""protocol=reconstruction: depth of all photos fused into one surface, against the true one."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from eval.protocols.geometry import Answer, GeometryProtocol, true_depth
from eval.protocols.splits import DividedScene
from geometry.errors import InputError
from geometry.metrics.dtu import consistent_points, dtu_metrics
from geometry.metrics.points import point_cloud_metrics, voxel_downsample
from geometry.metrics.surface import Cloud, fused_points, lifted_points, open3d
from geometry.ops import se3
from geometry.ops.align import DegenerateAlignment, Similarity, align_cameras, align_poses
from geometry.options import named, require_one_of
from geometry.sampling.framing import show_map

FUSIONS = ("tsdf", "points", "dtu")
DIAGONAL_SHARE = 0.01  # threshold where a benchmark states none: of the diagonal of the true surface's box
THRESHOLD_VOXELS = 6.4  # a threshold in voxels, and
TRUNCATION_VOXELS = 5.12  # a truncation, where not stated: the released evaluation's, of most sets


@dataclass(frozen=True, kw_only=True)
class Surface:
    """How predicted and true surfaces are made and compared; lengths are in the set's units.

    Args:
        threshold: of precision and recall; None: a hundredth of the diagonal of the true surface's box.
        voxel: side of the field's cells, and of those that clouds are thinned by; None: from the threshold.
        truncation: of the field; None: from the voxel.
        max_depth: true and aligned depth beyond it does not count.
        fusion: ``tsdf`` needs Open3D; ``points`` takes every pixel's point; ``dtu`` is that set's own.
        margin: predicted points further than this outside the true surface's box do not count.
        points: drawn from a surface.
    """

    threshold: float | None = None
    voxel: float | None = None
    truncation: float | None = None
    max_depth: float | None = None
    fusion: Literal["tsdf", "points", "dtu"] = "tsdf"
    margin: float | None = None
    points: int = 1_000_000

    def __post_init__(self) -> None:
        require_one_of("benchmark.reconstruction.fusion", self.fusion, FUSIONS)


@dataclass(frozen=True, kw_only=True)
class Reconstruction(GeometryProtocol):
    """Accuracy, completeness, Chamfer distance, and precision, recall and F1 at the set's threshold.

    Predicted cameras are carried to the true world by a similarity of their centres, robustly; the depth
    grows with it. With given cameras these are taken. Pixels without true depth do not count.

    Source: DA3's released evaluation, but fused at the size at which methods saw the photos.
    """

    name: ClassVar[str] = "reconstruction"
    metrics: ClassVar[tuple[str, ...]] = ("acc", "comp", "overall", "precision", "recall", "fscore")
    definition: ClassVar[str] = "RANSAC-Umeyama (seed 42); fused at the network's size; both clouds thinned"

    def check(self, benchmark: Any, metrics: tuple[str, ...]) -> None:
        super().check(benchmark, metrics)
        if named(Surface, benchmark.reconstruction).fusion == "tsdf":
            open3d()

    def choices(self, benchmark: Any) -> dict[str, Any]:
        return {"surface": asdict(named(Surface, benchmark.reconstruction))}

    def measure(self, scene: DividedScene, answer: Answer, benchmark: Any) -> dict[str, Any]:
        stated, frames = named(Surface, benchmark.reconstruction), scene.context
        truth_E = np.stack([frame.extrinsics for frame in frames])
        truth_K = np.stack([m.network_intrinsics(f.intrinsics) for f, m in zip(frames, answer.maps)])
        surface = getattr(benchmark.source, "surface", None)
        known = surface(scene.split.name) if surface else None
        masks = np.stack(
            [
                np.ones(z.shape) if f.depth is None and known is not None else show_map(true_depth(f), m)
                for f, z, m in zip(frames, answer.depth, answer.maps)
            ]
        )
        if stated.max_depth is not None:
            masks = np.where(masks < stated.max_depth, masks, 0)
        stated = _complete(stated, known if known is not None else lifted_points(masks, truth_E, truth_K))
        if known is None:
            known = _fused(masks, truth_E, truth_K, stated)
        assert answer.extrinsics is not None
        E, K, depth = answer.extrinsics.astype(np.float64), answer.intrinsics, np.stack(answer.depth)
        if self.context_poses == "given":
            E, K = truth_E, truth_K
        else:
            carry = carried(E, truth_E)
            E = carry.extrinsics(torch.from_numpy(E)).numpy()
            depth = depth * float(carry.scale)
        # Farther than twice the truth a point is as wrong as it can be; it costs no more memory than others.
        centres = se3.centres(torch.from_numpy(truth_E)).numpy()
        across = np.maximum(known.max(axis=0) - centres, centres - known.min(axis=0))
        depth = np.where(masks > 0, np.minimum(depth, 2 * np.linalg.norm(across, axis=1).max()), 0)
        if stated.max_depth is not None:
            depth = np.where(depth < stated.max_depth, depth, 0)
        if stated.fusion == "dtu":
            posed = self.context_poses == "given"
            cloud = (consistent_points if posed else lifted_points)(depth, E, K)
            scores = dtu_metrics(cloud, benchmark.source.truth(scene.split.name))
        else:
            pred = _fused(depth, E, K, stated)
            if stated.margin is not None:
                low, high = known.min(axis=0) - stated.margin, known.max(axis=0) + stated.margin
                pred = pred[((pred >= low) & (pred <= high)).all(axis=1)]
            pred, known = voxel_downsample(pred, stated.voxel), voxel_downsample(known, stated.voxel)
            scores = point_cloud_metrics(pred, known, stated.threshold)
        means = {name: value if np.isfinite(value) else None for name, value in scores.items()}
        reasons = dict.fromkeys(self.metrics, "not of this set")
        reasons |= {
            n: f"{scene.split.name}: nothing was reconstructed" for n, v in means.items() if v is None
        }
        return {
            "means": means,
            "reasons": {n: r for n, r in reasons.items() if means.get(n) is None},
            "threshold": stated.threshold,
            "voxel": stated.voxel,
        }


def carried(pred: np.ndarray, truth: np.ndarray) -> Similarity:
    """The similarity from the predicted world to the true one, whatever the cameras [V, 4, 4] are."""
    source, target = torch.from_numpy(pred).double(), torch.from_numpy(truth).double()
    try:
        return align_poses(target, source, ransac=True, seed=42)[0]
    except DegenerateAlignment:  # on a line or in one place: directions help
        return align_cameras(source, target)[0]


def _complete(stated: Surface, cloud: Cloud) -> Surface:
    """The lengths that the benchmark left open, from the size of the true surface."""
    if len(cloud) == 0:
        raise InputError("expected depth of the photos, or a true surface, found none")
    low, high = np.percentile(cloud, (1, 99), axis=0)
    threshold = stated.threshold or DIAGONAL_SHARE * float(np.linalg.norm(high - low))
    voxel = stated.voxel or threshold / THRESHOLD_VOXELS
    fields = asdict(stated) | {"threshold": threshold, "voxel": voxel}
    return Surface(**fields | {"truncation": stated.truncation or TRUNCATION_VOXELS * voxel})


def _fused(depth: np.ndarray, E: np.ndarray, K: np.ndarray, stated: Surface) -> Cloud:
    if stated.fusion == "tsdf":
        assert stated.voxel is not None
        assert stated.truncation is not None
        return fused_points(
            depth, E, K, voxel=stated.voxel, truncation=stated.truncation, count=stated.points
        )
    return lifted_points(depth, E, K)

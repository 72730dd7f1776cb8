"""The objectives: named terms, their weights, and one visible sum.

Each objective returns its terms by name, unweighted, for the log; `Objective.total` adds them up. A term of
weight 0 is not computed.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.errors import InputError
from geometry.losses.camera import camera_loss
from geometry.losses.depth import LAMBDA_C, depth_loss
from geometry.losses.global_local import LEVELS, SPHERES, global_local_terms
from geometry.losses.gradient import gradient_loss
from geometry.losses.mask import mask_loss
from geometry.losses.normal import normal_loss
from geometry.losses.point import point_loss, point_map_loss
from geometry.losses.ray import ray_loss
from geometry.losses.reduce import Components
from geometry.ops.metric import CANONICAL_FOCAL_PX, canonical_depth
from geometry.ops.pinhole import unproject
from geometry.ops.pose_encoding import encode_cameras
from geometry.ops.rays import rays_from_cameras, resize_rays
from geometry.prediction import Geometry
from geometry.views import Truth

Terms = dict[str, Tensor]


class Objective:
    """Base of objectives: weights by term name, checked against the names that exist."""

    def __init__(self, **weights: float) -> None:
        self.weights = weights
        if not any(self.weights.values()):
            raise ValueError(f"all loss weights are 0; set one of {list(weights)}")

    def on(self, name: str) -> bool:
        return self.weights[name] != 0

    def total(self, terms: Terms) -> Float[Tensor, ""]:
        """L = sum_k w_k L_k; every term needs a weight."""
        missing = terms.keys() - self.weights.keys()
        if missing:
            raise ValueError(f"no weight for the terms {sorted(missing)}; there are {sorted(self.weights)}")
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()


class AnyViewObjective(Objective):
    """L = L_D + L_M + L_P + beta L_C + alpha L_grad + gamma L_A: the student's.

    The paper's ablations by weights: depth+cam is ``ray=0, point=0``; depth+ray is ``camera=0``;
    depth+pcd+cam is ``ray=0, point=0, point_map=1``, where the last three channels of the ray branch are
    trained as world points, so that the architecture stays the same.

    Args:
        camera, gradient: beta and alpha.
        matching: gamma, of attention held against true matches (`geometry.losses.matching`). Not in the
            paper, hence 0; the step computes it, since it judges what lies inside the network.
        lambda_c, ray_conf, components: see the losses.

    Source: DA3 (arXiv:2511.10647) section 3; alpha = beta = 1.
    """

    def __init__(
        self,
        *,
        depth: float = 1.0,
        ray: float = 1.0,
        point: float = 1.0,
        camera: float = 1.0,
        gradient: float = 1.0,
        point_map: float = 0.0,
        matching: float = 0.0,
        lambda_c: float = LAMBDA_C,
        ray_conf: bool = True,
        components: Components = "mean",
    ) -> None:
        dense = {"depth": depth, "ray": ray, "point": point, "gradient": gradient, "point_map": point_map}
        super().__init__(**dense, camera=camera, matching=matching)
        self.lambda_c, self.ray_conf, self.components = lambda_c, ray_conf, components

    def __call__(self, geometry: Geometry, truth: Truth) -> Terms:
        """Terms by name.

        Args:
            truth: of `geometry.ops.scale.normalise_truth`, in the frame of the reference view that the
                network was told. Where depth was decoded for the first samples only, the dense terms are
                theirs.
        """
        H, W = truth.depth.shape[-2:]
        cameras, dense = truth.cameras, len(geometry.depth)
        truth = truth.map(lambda t: t[:dense])
        rays, valid, terms = geometry.rays, truth.valid, {}
        if self.on("depth"):
            terms["depth"] = depth_loss(
                geometry.depth, truth.depth, valid, geometry.depth_conf, lambda_c=self.lambda_c
            )
        if self.on("ray"):
            grid = (rays.shape[2], rays.shape[3])
            target = rays_from_cameras(truth.cameras, (H, W), grid)
            conf = geometry.ray_conf if self.ray_conf else None
            terms["ray"] = ray_loss(rays, target, conf, lambda_c=self.lambda_c, components=self.components)
        if self.on("point") or self.on("point_map"):
            points = unproject(truth.depth, truth.cameras)
            if self.on("point"):
                terms["point"] = point_loss(geometry.depth, rays, points, valid, components=self.components)
            if self.on("point_map"):
                ours = resize_rays(rays, (H, W))[..., 3:]
                terms["point_map"] = point_map_loss(ours, points, valid, components=self.components)
        if self.on("camera"):
            target = encode_cameras(cameras, (H, W))
            terms["camera"] = camera_loss(geometry.pose_encoding, target, components=self.components)
        if self.on("gradient"):
            terms["gradient"] = gradient_loss(geometry.depth, truth.depth, valid)
        return terms


class RelativeDepthObjective(Objective):
    """L_T = 0.5 L_grad + L_gl + L_N + L_sky + L_obj: the teacher's, and the monocular student's.

    Each view's truth is divided by its mean valid depth, so that L_grad has no unit; L_grad and L_N judge the
    prediction after the global alignment, without which they would change the scale. Sky and background
    (outside of ``truth.objects``, where given) count as not valid.

    Args:
        levels, spheres: of the local loss, one number of spheres for each level.

    Source: DA3 (arXiv:2511.10647) section 4.
    """

    def __init__(
        self,
        *,
        gradient: float = 0.5,
        global_local: float = 1.0,
        normal: float = 1.0,
        sky: float = 1.0,
        objects: float = 1.0,
        levels: Sequence[int] = LEVELS,
        spheres: Sequence[int] = SPHERES,
    ) -> None:
        self.levels, self.spheres = tuple(levels), tuple(spheres)
        if len(self.levels) != len(self.spheres):
            raise InputError(
                f"loss: expected a number of spheres for each of the levels {list(levels)}, "
                f"got {list(spheres)}"
            )
        local = {f"local_{level}": global_local for level in self.levels}
        super().__init__(
            gradient=gradient, normal=normal, sky=sky, objects=objects, **{"global": global_local}, **local
        )

    def __call__(
        self,
        geometry: Geometry,
        truth: Truth,
        generator: torch.Generator,
        objects: Float[Tensor, "B V H W"] | None = None,
    ) -> Terms:
        """Terms by name; a mask term is absent without prediction (``objects``: that mask) or label."""
        depth, target = geometry.depth.flatten(0, 1), truth.depth.flatten(0, 1)
        valid = depth_carrying(truth).flatten(0, 1) & (target > 0)
        intrinsics = truth.cameras.intrinsics.flatten(0, 1)
        mean = torch.where(valid, target, 0.0).sum((-1, -2)) / valid.sum((-1, -2)).clamp(min=1)
        target = torch.where(valid, target, 0.0) / torch.where(mean > 0, mean, 1.0)[:, None, None]

        terms, aligned = global_local_terms(
            depth, target, valid, intrinsics, generator=generator, levels=self.levels, spheres=self.spheres
        )
        terms = {name: term for name, term in terms.items() if self.on(name)}
        if self.on("gradient"):
            terms["gradient"] = gradient_loss(aligned, target, valid)
        if self.on("normal"):
            terms["normal"] = normal_loss(aligned, target, valid, intrinsics)
        masks = {"sky": (geometry.sky, truth.sky), "objects": (objects, truth.objects)}
        for name, (predicted, label) in masks.items():
            if self.on(name) and predicted is not None and label is not None:
                terms[name] = mask_loss(predicted, label)
        return terms


class MetricObjective(Objective):
    """L = L_D + L_grad + L_sky on labels of the canonical focal length: the metric model's.

    Depth is plain l1, as the model predicts no confidence. The paper names the three terms, not their
    weights: 1 each.

    Source: DA3 (arXiv:2511.10647) section 4.4.
    """

    def __init__(
        self,
        *,
        depth: float = 1.0,
        gradient: float = 1.0,
        sky: float = 1.0,
        canonical_focal_px: float = CANONICAL_FOCAL_PX,
    ) -> None:
        super().__init__(depth=depth, gradient=gradient, sky=sky)
        self.canonical_focal_px = canonical_focal_px

    def __call__(self, geometry: Geometry, truth: Truth) -> Terms:
        """Terms by name; samples whose depth is not in metres count for the sky only."""
        target = canonical_depth(truth.depth, truth.cameras.intrinsics, self.canonical_focal_px)
        valid = depth_carrying(truth) & truth.metric[:, None, None, None]
        terms = {}
        if self.on("depth"):
            terms["depth"] = depth_loss(geometry.depth, target, valid)
        if self.on("gradient"):
            terms["gradient"] = gradient_loss(geometry.depth, target, valid)
        if self.on("sky") and geometry.sky is not None and truth.sky is not None:
            terms["sky"] = mask_loss(geometry.sky, truth.sky)
        return terms


def depth_carrying(truth: Truth) -> Bool[Tensor, "B V H W"]:
    """Valid pixels that are neither sky nor background."""
    valid = truth.valid if truth.sky is None else truth.valid & ~truth.sky
    return valid if truth.objects is None else valid & truth.objects

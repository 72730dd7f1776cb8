"""Alignment in closed form: similarities between point sets or cameras, scale and shift between depths.

Everything computes in float64: alignments subtract large numbers from each other.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.ops import se3
from geometry.tensors import TensorRecord

MAX_SCORED = 4096  # points, drawn at random, on which `robust_scale_shift` scores; its last fits use all
POLISH_ROUNDS = 10  # refits after its RANSAC fit


class DegenerateAlignment(ValueError):
    """The points do not determine the transform asked for: too few, coincident, or on a line."""


@dataclass(frozen=True, kw_only=True)
class Similarity(TensorRecord):
    """Sim(3): x' = scale * rotation @ x + translation."""

    scale: Float[Tensor, "*batch"]
    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def points(self, points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Points carried into the other world."""
        scale, rotation = self.scale.to(points), self.rotation.to(points)
        turned = points @ rotation.mT
        return scale[..., None, None] * turned + self.translation.to(points)[..., None, :]

    def extrinsics(self, extrinsics: Float[Tensor, "*batch V 4 4"]) -> Float[Tensor, "*batch V 4 4"]:
        """World-to-camera poses of the same cameras in the other world; their depths grow by ``scale``."""
        cam_to_world = se3.invert(extrinsics)
        rotation = self.rotation.to(extrinsics)[..., None, :, :] @ cam_to_world[..., :3, :3]
        centre = self.points(cam_to_world[..., :3, 3])
        return se3.invert(se3.from_rotation_translation(rotation, centre))

    def then(self, after: "Similarity") -> "Similarity":
        """This similarity, and ``after`` on what it gives."""
        return Similarity(
            scale=after.scale * self.scale,
            rotation=after.rotation @ self.rotation,
            translation=after.points(self.translation[..., None, :])[..., 0, :],
        )

    def inverse(self) -> "Similarity":
        rotation = self.rotation.mT
        scale = 1 / self.scale
        translation = -scale[..., None] * (rotation @ self.translation[..., None])[..., 0]
        return Similarity(scale=scale, rotation=rotation, translation=translation)


def umeyama(
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
    *,
    min_rank: int = 2,
) -> Similarity:
    """Least-squares similarity that carries ``source`` onto ``target``; batched and differentiable.

    The scale needs points that are apart (rank 1); the rotation needs points off one line (rank 2), judged
    relative to the largest singular value.

    Args:
        weights: not negative.
        min_rank: 1 accepts points on a line, about which the rotation is then arbitrary.

    Raises:
        DegenerateAlignment: the centred points have a lower rank than asked.

    Source: Umeyama 1991, eq. 34 to 43.
    """
    eps = max(torch.finfo(source.dtype).eps, torch.finfo(target.dtype).eps)
    size, target_size = source.abs().amax((-1, -2)), target.abs().amax((-1, -2))
    source, target = source.double(), target.double()
    if weights is None:
        weights = source.new_ones(source.shape[:-1])
    weights = weights.double()
    weights = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-300))[..., None]
    source_mean, target_mean = (weights * source).sum(-2), (weights * target).sum(-2)
    source_centred = source - source_mean[..., None, :]
    target_centred = target - target_mean[..., None, :]

    covariance = (weights * target_centred).mT @ source_centred
    U, singular, Vh = torch.linalg.svd(covariance)
    # Points within the rounding of their coordinates are one point: their directions are noise.
    used = weights > 0
    spread = (source_centred * used).abs().amax((-1, -2)) > 8 * eps * size
    spread &= (target_centred * used).abs().amax((-1, -2)) > 8 * eps * target_size
    rank = ((singular > 1e-12 * singular[..., :1]) & spread[..., None]).sum(-1).min()
    if rank < min_rank:
        trouble = "they coincide" if rank == 0 else "they lie on a line"
        raise DegenerateAlignment(
            f"alignment needs points of rank {min_rank}, got rank {int(rank)} "
            f"from {source.shape[-2]} points: {trouble}"
        )
    reflected = torch.linalg.det(U) * torch.linalg.det(Vh) < 0
    sign = torch.ones_like(singular)
    sign[..., 2] = torch.where(reflected, -1.0, 1.0)
    rotation = U @ (sign[..., None] * Vh)
    variance = (weights * source_centred.square()).sum((-1, -2))
    scale = (singular * sign).sum(-1) / variance
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(scale=scale, rotation=rotation, translation=translation)


def align_poses(
    reference: Float[Tensor, "V 4 4"],
    estimate: Float[Tensor, "V 4 4"],
    *,
    ransac: bool = False,
    seed: int = 42,
) -> tuple[Similarity, Float[Tensor, "V 4 4"]]:
    """Similarity from the estimate's world to the reference's, by camera centres, and the estimate in it.

    Args:
        reference, estimate: world-to-camera poses of the same cameras, float64 advised.
        ransac: fit subsets of half the cameras and keep the largest consensus, for estimates in which some
            are lost. A camera agrees if its centre is no further off than the median distance of an
            estimated centre to the nearest reference centre, after a first fit to all.

    Raises:
        DegenerateAlignment: the centres coincide or lie on a line.

    Source: the released DA3 evaluators and API, same draws for the same seed; there, whether two cameras
        raise hangs on rounding.
    """
    source, target = se3.centres(estimate), se3.centres(reference)
    similarity = umeyama(source, target)
    if ransac:
        similarity = _consensus(source, target, similarity, np.random.default_rng(seed))
    return similarity, similarity.extrinsics(estimate)


def _consensus(source: Tensor, target: Tensor, first: Similarity, rng: np.random.Generator) -> Similarity:
    n = len(source)
    nearest = torch.cdist(first.points(source), target.to(source)).min(dim=1).values
    threshold = np.median(nearest.numpy(force=True))
    best, best_rank = None, (0, 0.0)
    for _ in range(10):
        chosen = torch.from_numpy(rng.choice(n, size=min(n, max(3, (n + 1) // 2)), replace=False))
        try:
            candidate = umeyama(source[chosen], target[chosen])
        except DegenerateAlignment:
            continue
        error = (candidate.points(source) - target).norm(dim=-1)
        inliers = error <= threshold
        rank = (int(inliers.sum()), -float(error[inliers].mean()))  # NaN without inliers: no rank at all
        if rank > best_rank:
            best, best_rank = inliers, rank
    return first if best_rank[0] < 3 else umeyama(source[best], target[best])


@torch.no_grad()
def align_cameras(
    source: Float[Tensor, "V 4 4"], target: Float[Tensor, "V 4 4"]
) -> tuple[Similarity, Float[Tensor, ""]]:
    """Similarity that carries cameras onto the same ones in another world, and how well it does.

    By centres and directions together: each camera counts as its centre and three points before its axes, as
    far off as the cameras are spread. One camera is then enough for a place, and two or a line of them for a
    rotation; of one alone the scale stays.

    Args:
        source, target: world-to-camera.

    Returns:
        The similarity, and the median distance of carried centres and points from the target's, over the
        target's spread (1 for one camera alone).
    """
    points = []
    spreads = []
    for poses in (source, target):
        cam_to_world = se3.invert(poses.double())
        centres = cam_to_world[:, :3, 3]
        spreads.append((centres - centres.mean(dim=0)).square().sum(-1).mean().sqrt())
        points.append(cam_to_world)
    apart = min(spreads) > 1e-6 * max(float(p[:, :3, 3].abs().max()) for p in points)
    lengths = spreads if apart else [spreads[0].new_ones(())] * 2
    offsets = torch.cat((torch.zeros(1, 3), torch.eye(3))).to(points[0])
    clouds = [
        (cam_to_world[:, None, :3, 3] + length * (offsets @ cam_to_world[:, :3, :3].mT)).flatten(0, 1)
        for cam_to_world, length in zip(points, lengths)
    ]
    carry = umeyama(*clouds)
    error = (carry.points(clouds[0]) - clouds[1]).norm(dim=-1).median() / lengths[1]
    return carry, error


@torch.no_grad()
def camera_scale(
    reference: Float[Tensor, "B V 4 4"], estimate: Float[Tensor, "B V 4 4"]
) -> Float[Tensor, " B"]:
    """Factor that brings the estimate's depths and centres to the reference's scale, per scene.

    Clamped to 1/3 .. 3; 1 where the centres coincide or there is one view, since nothing fixes it then.

    Source: the released DA3 Gaussian adapter. Two views, or views on a line, fix a scale here.
    """
    scales = []
    for target, source in zip(reference, estimate):
        try:
            similarity = umeyama(se3.centres(source), se3.centres(target), min_rank=1)
            scales.append(similarity.scale.clamp(1 / 3, 3.0))
        except DegenerateAlignment:
            scales.append(reference.new_ones((), dtype=torch.float64))
    return torch.stack(scales)


def normalise_extrinsics(extrinsics: Float[Tensor, "B V 4 4"]) -> tuple[Float[Tensor, "B V 4 4"], Similarity]:
    """Given poses as the network expects them, and the similarity from that world back to the given one.

    The first view becomes the identity and centres are divided by their median distance from it (the lower
    median, the first view's zero included), at least 0.1.

    Source: the released DA3 API.
    """
    first = extrinsics[:, 0]
    normalised = se3.relative(extrinsics, first)
    scale = se3.centres(normalised).norm(dim=-1).median(dim=-1).values.clamp(min=0.1)
    normalised = normalised.clone()
    normalised[..., :3, 3] /= scale[:, None, None]
    first_to_world = se3.invert(first)
    world = Similarity(scale=scale, rotation=first_to_world[:, :3, :3], translation=first_to_world[:, :3, 3])
    return normalised, world


def fit_scale(
    source: Float[Tensor, "*batch n"],
    target: Float[Tensor, "*batch n"],
    weights: Float[Tensor, "*batch n"] | Bool[Tensor, "*batch n"] | None = None,
) -> Float[Tensor, "*batch"]:
    """argmin over s of sum w (s * source - target)^2; 1 without weight. Values of weight 0 may be NaN."""
    source, target, weights = _masked(source, target, weights)
    denominator = (weights * source * source).sum(-1)
    defined = denominator > 0
    scale = (weights * source * target).sum(-1) / torch.where(defined, denominator, 1.0)
    return torch.where(defined, scale, 1.0)


def fit_scale_shift(
    source: Float[Tensor, "*batch n"],
    target: Float[Tensor, "*batch n"],
    weights: Float[Tensor, "*batch n"] | Bool[Tensor, "*batch n"] | None = None,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """argmin over (s, t) of sum w (s * source + t - target)^2; the scale may come out negative.

    Where the source is constant only a shift is determined: the scale is then 1. Without any weight the
    answer is (1, 0). Values of weight 0 may be anything, NaN included.
    """
    source, target, weights = _masked(source, target, weights)
    total = weights.sum(-1)
    share = weights / torch.where(total > 0, total, 1.0)[..., None]
    source_mean, target_mean = (share * source).sum(-1), (share * target).sum(-1)
    source_centred = source - source_mean[..., None]
    variance = (share * source_centred.square()).sum(-1)
    # A constant source leaves a variance of rounding size, not zero.
    defined = variance > 1e-24 * (share * source.square()).sum(-1)
    covariance = (share * source_centred * (target - target_mean[..., None])).sum(-1)
    scale = torch.where(defined, covariance / torch.where(defined, variance, 1.0), 1.0)
    return scale, target_mean - scale * source_mean


def _masked(source: Tensor, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 copies with zeros wherever the weight is zero."""
    source, target = source.double(), target.double()
    weights = torch.ones_like(source) if weights is None else weights.to(source).expand_as(source)
    used = weights > 0
    return torch.where(used, source, 0.0), torch.where(used, target, 0.0), torch.where(used, weights, 0.0)


@dataclass(frozen=True, kw_only=True)
class RobustFit(TensorRecord):
    """Result of `robust_scale_shift`."""

    scale: Float[Tensor, ""]
    shift: Float[Tensor, ""]
    inliers: Bool[Tensor, " n"]  # the points that the last least-squares fit used
    threshold: Float[Tensor, ""]  # eq. 8's threshold, target units


def robust_scale_shift(
    source: Float[Tensor, " n"],
    target: Float[Tensor, " n"],
    *,
    generator: torch.Generator,
    hypotheses: int = 512,
    positive: bool = True,
) -> RobustFit:
    """argmin over (s > 0, t) of sum m (s * source + t - target)^2 by RANSAC least squares.

    Lines through random pairs of points are scored by truncated absolute residuals. The truncation is the
    mean absolute deviation of residuals from their median, for the line where it is smallest. A mean over 40
    % outliers is wide, and one without them narrow: a few refits follow, on points within three standard
    deviations, estimated from the median residual of the points kept before.

    Args:
        generator: on the points' device; the same generator state gives the same answer.
        hypotheses: pairs drawn. At 40 % outliers 36 % of pairs are clean; many are drawn because a clean
            pair of near-equal depths still fixes a poor line.
        positive: consider only lines with s > 0. Without, the sign of the best line tells whether the
            data are inverted.

    Raises:
        DegenerateAlignment: fewer than 2 points, no pair of different source values, or none with s > 0.

    Source: DA3 (arXiv:2511.10647) eq. 8. The paper does not say of which fit the residuals are, nor how
        hypotheses are scored.
    """
    source, target = source.double(), target.double()
    n = len(source)
    if n < 2:
        raise DegenerateAlignment(f"scale and shift need at least 2 points, got {n}")
    device = source.device
    first = torch.randint(n, (hypotheses,), generator=generator, device=device)
    second = (first + torch.randint(1, n, (hypotheses,), generator=generator, device=device)) % n
    run = source[second] - source[first]
    usable = run.abs() > 1e-9 * source.abs().max()
    if not usable.any():
        raise DegenerateAlignment("scale and shift need different source values, got a constant")
    scale = (target[second] - target[first]) / run
    if positive:
        usable &= scale > 0
        if not usable.any():
            raise DegenerateAlignment("no pair of points has a positive scale between source and target")
    scale, first = scale[usable], first[usable]
    shift = target[first] - scale * source[first]

    scored = slice(None)
    if n > MAX_SCORED:
        scored = torch.randperm(n, generator=generator, device=device)[:MAX_SCORED]
    residual = scale[:, None] * source[scored] + shift[:, None] - target[scored]  # [hypotheses, points]
    deviation = (residual - residual.median(dim=1, keepdim=True).values).abs().mean(dim=1)
    # Exact data have no deviation: leave room for rounding.
    floor = 1e-12 * target.abs().max()
    threshold = deviation.min().clamp(min=floor)
    best = residual.abs().clamp(max=threshold).mean(dim=1).argmin()
    scale, shift = scale[best], shift[best]

    used = inliers = (scale * source + shift - target).abs() <= threshold
    for _ in range(1 + POLISH_ROUNDS):
        new_scale, new_shift = fit_scale_shift(source, target, inliers)
        if inliers.sum() < 2 or (positive and new_scale <= 0):
            break
        scale, shift, used = new_scale, new_shift, inliers
        error = (scale * source + shift - target).abs()
        sigma = 1.4826 * error[inliers].median()
        closer = error <= (3 * sigma).clamp(min=floor)
        if torch.equal(closer, inliers):
            break
        inliers = closer
    return RobustFit(scale=scale, shift=shift, inliers=used, threshold=threshold)

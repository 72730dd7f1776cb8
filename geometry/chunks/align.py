"""How two chunks lie to each other: a similarity of the photos that both contain."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.chunks.passes import Chunk
from geometry.ops import se3
from geometry.ops.align import DegenerateAlignment, Similarity, align_cameras, umeyama
from geometry.ops.pinhole import unproject
from geometry.ops.sky import SKY_THRESHOLD
from geometry.prediction import Geometry
from geometry.views import Views

_POINTS = 20_000  # of all shared photos
_ROUNDS = 15  # of reweighting
_NEAR = 0.1  # of its depth: a point that is no further off agrees
_CAMERAS = 0.25  # weight of the cameras together, beside that of the points
_WORST = (
    0.06  # of their depth: points that agree in a link that is believed lie no further off, in the median
)
_LEAST = 0.5  # share of the points that agree in a link that is believed
_CONFIDENT = 10.0  # a point counts this times as much as the median one at most
_FINEST = 1e-4  # residuals over depth below which nothing is an outlier; half of `_NEAR` always is one


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two chunks, and the similarity from the second one's world to the first one's."""

    first: int
    second: int
    similarity: Similarity
    share: float  # of the points, weighted by confidence, that agree, 0..1
    error: float  # their median distance, over their depth

    @property
    def believed(self) -> bool:
        return self.share >= _LEAST and self.error <= _WORST


def align(a: Chunk, b: Chunk, first: int, second: int, views: Views) -> Link:
    """The link of two chunks that share photos.

    Points are the shared photos' pixels at either chunk's depth, weighted by both confidences and measured in
    their depth, so that what is far and less certain counts less. Each camera counts as its centre and three
    points along its axes. Every shared camera with the ratio of its depths is a similarity of its own; the
    best of these, of all cameras and of all points is where reweighted least squares starts: outliers cannot
    pull it away, while the median residual decides what is one (Geman and McClure's weights), within limits.

    Args:
        first, second: the chunks' numbers.
        views: all photos; what masks hide does not count.
    """
    shared = [photo for photo in a.photos if photo in set(b.photos)]
    A, B = (chunk.geometry[:, chunk.rows(shared)] for chunk in (a, b))
    use = A.depth.isfinite() & B.depth.isfinite() & (A.depth > 0) & (B.depth > 0)
    if views.mask is not None:
        use &= views.mask[:, shared]
    for geometry in (A, B):
        use &= True if geometry.sky is None else geometry.sky < SKY_THRESHOLD
    index = use.flatten().nonzero()[:, 0]
    if len(index) < 3:
        cameras, _ = align_cameras(B.cameras.extrinsics[0], A.cameras.extrinsics[0])
        return Link(first=first, second=second, similarity=cameras, share=0.0, error=1.0)
    index = index[:: max(1, len(index) // _POINTS)]
    target, source = (unproject(g.depth, g.cameras).flatten(0, 3)[index].double() for g in (A, B))
    depth = A.depth.flatten()[index].double()
    weight = torch.ones_like(depth)
    for geometry in (A, B):
        if geometry.depth_conf is not None:
            confidence = geometry.depth_conf.flatten()[index].double()
            weight = weight * (confidence / confidence.median()).clamp(max=_CONFIDENT).sqrt()

    def off(similarity: Similarity) -> Float[Tensor, " n"]:
        return (similarity.points(source) - target).norm(dim=-1) / depth

    best = min(_starts(A, B, source, target, weight / depth**2), key=lambda s: _cost(off(s), weight))
    pose_a, pose_b = (se3.invert(g.cameras.extrinsics[0].double()) for g in (A, B))
    reach = depth.median()  # of a camera's axes, in the first world
    ends = torch.cat((torch.zeros(1, 3), torch.eye(3))).to(reach)
    posts_a = (pose_a[:, None, :3, 3] + reach * (ends @ pose_a[:, :3, :3].mT)).flatten(0, 1)
    of_camera = _CAMERAS * weight.sum() / len(posts_a)
    for _ in range(_ROUNDS):
        axes = reach / best.scale * (ends @ pose_b[:, :3, :3].mT)
        posts_b = (pose_b[:, None, :3, 3] + axes).flatten(0, 1)
        points = off(best)
        cameras = (best.points(posts_b) - posts_a).norm(dim=-1) / reach
        width = (1.4826 * points.median()).clamp(min=_FINEST, max=_NEAR / 2)
        weights = torch.cat(
            (
                weight * _inlying(points, width) / depth**2,
                of_camera * _inlying(cameras, width) / reach**2,
            )
        )
        try:
            best = umeyama(torch.cat((source, posts_b)), torch.cat((target, posts_a)), weights)
        except DegenerateAlignment:
            break
    points = off(best)
    agreeing = points < _NEAR
    share = float((weight * agreeing).sum() / weight.sum())
    error = float(points[agreeing].median()) if agreeing.any() else 1.0
    return Link(first=first, second=second, similarity=best, share=share, error=error)


def joined(first: Link, second: Link) -> Link:
    """The link of two chunks that both have one to a third: ``second.second`` is ``first.second``."""
    return Link(
        first=first.first,
        second=second.first,
        similarity=second.similarity.inverse().then(first.similarity),
        share=min(first.share, second.share),
        error=(first.error**2 + second.error**2) ** 0.5,
    )


def _starts(A: Geometry, B: Geometry, source: Tensor, target: Tensor, weight: Tensor) -> list[Similarity]:
    """Similarities of single cameras with the ratio of their depths, of all cameras, of all points."""
    starts = [align_cameras(B.cameras.extrinsics[0], A.cameras.extrinsics[0])[0]]
    pose_a, pose_b = (se3.invert(g.cameras.extrinsics[0].double()) for g in (A, B))
    for row, (to, of) in enumerate(zip(pose_a, pose_b)):
        ratio = (A.depth[0, row] / B.depth[0, row]).double()
        ratio = ratio[ratio.isfinite() & (ratio > 0)]
        if len(ratio):
            scale, rotation = ratio.median(), to[:3, :3] @ of[:3, :3].mT
            shift = to[:3, 3] - scale * (rotation @ of[:3, 3])
            starts.append(Similarity(scale=scale, rotation=rotation, translation=shift))
    with suppress(DegenerateAlignment):
        starts.append(umeyama(source, target, weight))
    return starts


def _cost(off: Tensor, weight: Tensor) -> float:
    return float((weight * (off / _NEAR).clamp(max=1)).sum())


def _inlying(off: Tensor, width: Tensor) -> Tensor:
    return (1 + (off / width) ** 2) ** -2

"""Which other views a view is compared with."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops import se3
from geometry.ops.pinhole import project, unproject
from geometry.views import Cameras

_GRID = 12  # points a side that stand for a view
_GOOD_ANGLE_DEG = 8.0  # between rays: less is imprecise, much more looks different


def source_views(
    cameras: Cameras, image_size: tuple[int, int], depth: Float[Tensor, " V"], count: int
) -> Int[Tensor, "V S"]:
    """For each view the others that see most of the same surface at a useful angle, best first.

    A grid of points at three depths stands for what a view shows. A point that falls inside the other image
    counts by the angle between the two rays to it: fully at 8 degrees, less where the rays are nearly
    parallel (no parallax, no depth) or far apart (the surface looks different).

    Args:
        depth: a typical z-depth of each view.
        count: at most this many; all others where there are fewer.

    Source: the angle weight is that of Yao et al. 2018 (MVSNet), with our constants.
    """
    H, W = image_size
    V = len(depth)
    small = Cameras(
        extrinsics=cameras.extrinsics,
        intrinsics=cameras.intrinsics * cameras.intrinsics.new_tensor([_GRID / W, _GRID / H, 1])[:, None],
    )
    at = depth[:, None] * depth.new_tensor([0.6, 1.0, 1.8])  # [V, 3]
    layers = [unproject(d.view(1, V, 1, 1).expand(1, V, _GRID, _GRID), small) for d in at.unbind(-1)]
    points = torch.stack([layer[0].flatten(1, 2) for layer in layers], dim=1).flatten(1, 2)  # [V, n, 3]
    centres = se3.centres(cameras.extrinsics[0])
    score = points.new_zeros(V, V)
    for view in range(V):
        seen, z = project(points[view].expand(1, V, -1, 3), cameras)  # by every camera
        inside = (seen[0] > 0).all(-1) & (seen[0, ..., 0] < W) & (seen[0, ..., 1] < H) & (z[0] > 0)
        rays = torch.nn.functional.normalize(points[view] - centres[:, None], dim=-1)  # [V, n, 3]
        cosine = (rays * rays[view]).sum(-1).clamp(-1, 1)
        ratio = torch.acos(cosine) * (180 / math.pi) / _GOOD_ANGLE_DEG
        weight = torch.where(ratio < 1, ratio.square(), 1 / ratio.clamp(min=1e-6))
        score[view] = (weight * inside).mean(-1)
    score.fill_diagonal_(-1)
    return score.argsort(dim=1, descending=True, stable=True)[:, : min(count, V - 1)]

"""Which patches of different views show the same surface, from depth and cameras."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry.ops.pinhole import project, unproject
from geometry.tensors import TensorRecord
from geometry.views import Truth


@dataclass(frozen=True, kw_only=True)
class PatchMatches(TensorRecord):
    """Where the surface in the middle of a patch lies in the other views.

    Patches are numbered through all views of a scene: view * T + row * w + column. A place between the
    centres of patches is shared among the four around it (bilinear weights).
    """

    patch: Int[Tensor, "B Q"]  # the query patches
    matches: Int[Tensor, "B Q K"]  # patches of all other views, K = 4 V
    weights: Float[Tensor, "B Q K"]  # they sum to 1, or to 0 where no other view shows the surface

    @property
    def found(self) -> Bool[Tensor, "B Q"]:
        return self.weights.sum(-1) > 0


def match_patches(
    truth: Truth,
    patch: int,
    *,
    queries: int | None = None,
    tolerance: float = 0.1,
    generator: torch.Generator | None = None,
) -> PatchMatches:
    """True matches of patches, as far as depth is known and nothing is in front.

    The point on the surface in the middle of a patch is projected into every other view. It is seen there if
    that view's own depth at the pixel is the same within ``tolerance``, as a part of it.

    Args:
        truth: depth and cameras; its scale does not matter.
        patch: side of the patches, pixels; the image is tiled by them.
        queries: at most this many query patches of each scene, drawn among those with known depth; None
            means all.
    """
    B, V, H, W = truth.depth.shape
    grid = (H // patch, W // patch)
    middle = slice(patch // 2, None, patch)  # of every patch
    points = unproject(truth.depth, truth.cameras)[:, :, middle, middle].flatten(1, 3)  # [B, V * T, 3]
    valid = truth.valid[:, :, middle, middle].flatten(1, 3)
    asked = _draw(valid, queries, generator)
    points = points.take_along_dim(asked[..., None], dim=1)
    valid = valid.take_along_dim(asked, dim=1)

    pixels, z = project(points[:, None].expand(B, V, -1, 3), truth.cameras)  # by every camera: [B, V, Q]
    place = pixels / pixels.new_tensor([W, H]) * 2 - 1
    there = F.grid_sample(
        torch.where(truth.valid, truth.depth, 0.0).flatten(0, 1)[:, None],
        place.flatten(0, 1)[:, None].clamp(-2, 2),
        mode="nearest",
        align_corners=False,
    ).view(z.shape)
    seen = (z > 0) & (there > 0) & ((there - z).abs() < tolerance * z) & (place.abs() <= 1).all(-1)
    own = asked // (grid[0] * grid[1])  # the view of the queries
    seen &= valid[:, None] & (torch.arange(V, device=own.device)[None, :, None] != own[:, None])
    matches, weights = _around(pixels / patch, grid)  # [B, V, Q, 4]
    first = torch.arange(V, device=own.device)[None, :, None, None] * (grid[0] * grid[1])
    weights = torch.where(seen[..., None], weights, 0.0).movedim(1, 2).flatten(2)
    return PatchMatches(
        patch=asked,
        matches=(matches + first).movedim(1, 2).flatten(2),
        weights=weights / weights.sum(-1, keepdim=True).clamp(min=1e-6),
    )


def _draw(
    valid: Bool[Tensor, "B N"], queries: int | None, generator: torch.Generator | None
) -> Int[Tensor, "B Q"]:
    """Query patches, those with known depth first."""
    if queries is None or queries >= valid.shape[1]:
        return torch.arange(valid.shape[1], device=valid.device).expand_as(valid)
    # Drawn where the generator lives, so that a run draws the same numbers on every device.
    device = valid.device if generator is None else generator.device
    lot = torch.rand(valid.shape, generator=generator, device=device).to(valid.device)
    return (lot + valid).topk(queries, dim=1).indices


def _around(
    place: Float[Tensor, "*n 2"], grid: tuple[int, int]
) -> tuple[Int[Tensor, "*n 4"], Float[Tensor, "*n 4"]]:
    """The four patches around a place in patches, and bilinear weights (clamped to the outermost)."""
    h, w = grid
    limit = place.new_tensor([w - 1, h - 1])
    inner = torch.minimum((place - 0.5).clamp(min=0), limit)  # 0 at the first centre
    low = inner.floor()
    part = inner - low
    high = torch.minimum(low + 1, limit)
    (x0, y0), (x1, y1), (fx, fy) = (t.unbind(-1) for t in (low, high, part))
    matches = torch.stack((y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1), dim=-1).long()
    weights = torch.stack(((1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx), dim=-1)
    return matches, weights

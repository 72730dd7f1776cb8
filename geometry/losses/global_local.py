"""L_gl: depth up to scale and shift, over the whole image and inside many small spheres."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry.losses.reduce import mean_of_views
from geometry.ops.pinhole import pixel_rays
from geometry.ops.truncated_l1 import truncated_l1_scale_shift

LEVELS = (4, 16, 64)
SPHERES = (16, 256, 4096)  # per view and level: the smaller they are, the more it takes to see a whole image
TRUNCATION = 1.0  # of the alignments: relative error (global), radii (local); MoGe's value
LATTICE = 16  # points across a sphere's window
MIN_POINTS = 32  # fewer do not determine scale and shift
AT_ONCE = 4096  # spheres aligned together, which takes some 0.1 MB for each
GLOBAL_LATTICE = 32  # points across the image for the global alignment


def inverse_depth_weight(
    target: Float[Tensor, "*views H W"], valid: Bool[Tensor, "*views H W"]
) -> Float[Tensor, "*views H W"]:
    """1 / D, 0 where not valid, at most 10 times its mean over the view's valid pixels.

    The bound is against single wrong labels next to the camera, whose weight would drown the image.

    Source: MoGe (arXiv:2410.19115), training code.
    """
    weight = torch.where(valid, 1 / torch.where(valid, target, 1.0).clamp(min=1e-6), 0.0)
    mean = weight.sum((-1, -2), keepdim=True) / valid.sum((-1, -2), keepdim=True).clamp(min=1)
    return torch.minimum(weight, 10.0 * mean)


@torch.no_grad()
def align_globally(
    depth: Float[Tensor, "n H W"],
    target: Float[Tensor, "n H W"],
    weight: Float[Tensor, "n H W"],
    *,
    generator: torch.Generator,
    truncation: float = TRUNCATION,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Scale and shift of each view by robust optimal alignment on a lattice of its pixels; (0, 0) if none."""
    H, W = depth.shape[-2:]
    rows = torch.linspace(0, H - 1, min(H, GLOBAL_LATTICE), device=depth.device).round().long()
    columns = torch.linspace(0, W - 1, min(W, GLOBAL_LATTICE), device=depth.device).round().long()
    chosen = (..., rows[:, None], columns)
    flat = [torch.nan_to_num(v[chosen].flatten(-2)) for v in (depth, target, weight)]
    return truncated_l1_scale_shift(*flat, truncation=truncation, anchors=16, generator=generator)


def follow_alignment(
    depth: Float[Tensor, "n k"],
    target: Float[Tensor, "n k"],
    weight: Float[Tensor, "n k"],
    scale: Float[Tensor, " n"],
    shift: Float[Tensor, " n"],
    *,
    truncation: float = TRUNCATION,
) -> Float[Tensor, "n k"]:
    """s D^ + t, whose s and t follow D^ in the derivative as well.

    Its value is that of the robust alignment; its derivative is that of the weighted least-squares line from
    D^ to this value over the points that the alignment did not truncate. So a loss of it is indifferent to
    scale and shift of D^, and its gradient is orthogonal to D^ and to 1 in every row. With s and t as
    constants that holds only for the loss that they minimise: the gradient of any other (L_grad, L_N) would
    ask for another scale, which the next alignment undoes, and the prediction drifts until its exponential
    fails.

    Args:
        weight: the alignment's; 0 excludes a point, whose values must still be finite.
        truncation: the alignment's. A point beyond it would dominate a least-squares fit.
    """
    fixed = scale[:, None] * depth.detach() + shift[:, None]
    weight = torch.where((fixed - target).abs() * weight < truncation, weight, 0.0)
    weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-30)
    mean, offset = (weight * depth).sum(-1, keepdim=True), (weight * fixed).sum(-1, keepdim=True)
    spread = (weight * (depth - mean).square()).sum(-1, keepdim=True)
    slope = (weight * (depth - mean) * (fixed - offset)).sum(-1, keepdim=True)
    slope = slope / torch.where(spread > 0, spread, 1.0)
    constants = scale[:, None] * depth + shift[:, None]
    return torch.where(spread > 0, slope * (depth - mean) + offset, constants)


def global_loss(
    aligned: Float[Tensor, "n H W"], target: Float[Tensor, "n H W"], valid: Bool[Tensor, "n H W"]
) -> Float[Tensor, ""]:
    """L_g = 1/Z sum m |s D^ + t - D| / D, the mean over views.

    The alignment ignores errors beyond its truncation; here they keep their gradient, as in MoGe, since a
    pixel that far off is the one to be corrected.

    Args:
        aligned: s D^ + t of `follow_alignment`.
    """
    error = (aligned - torch.where(valid, target, 0.0)).abs() * inverse_depth_weight(target, valid)
    return mean_of_views(error, valid)


def local_loss(
    depth: Float[Tensor, "n H W"],
    target: Float[Tensor, "n H W"],
    valid: Bool[Tensor, "n H W"],
    intrinsics: Float[Tensor, "n 3 3"],
    global_scale: Float[Tensor, " n"],
    level: int,
    *,
    generator: torch.Generator,
    spheres: int = 16,
) -> Float[Tensor, ""]:
    """L_l = mean over spheres S of 1/|S| sum over S of |s D^ + t - D| / D, with each sphere's optimal s, t.

    The mean is over a view's spheres, then over views.

    A sphere sits on a random valid pixel's true point; its radius is D diag / (2 level f), the half
    diagonal of the image seen at that depth, divided by the level. It holds the true points of a jittered
    lattice of at most 16 x 16 pixels around, every other of which, both ways, finds s and t. Errors for the
    alignment are relative to the radius, so that its truncation is one radius. Spheres with fewer than 32
    points are left out, and so are those whose scale is not within a factor of 10 of the image's: there noise
    decided.

    Args:
        generator: on the depth's device.

    Source: MoGe (arXiv:2410.19115), multi-scale local loss, on depth instead of points.
    """
    with torch.no_grad():
        drawn = _draw_spheres(target, valid, intrinsics, level, spheres, generator)
    view, inside, rows, columns, radius = drawn
    if not len(view):
        return mean_of_views(depth, torch.zeros_like(valid))
    ours, theirs = depth[view[:, None], rows, columns], target[view[:, None], rows, columns]
    with torch.no_grad():
        theirs, per_radius = torch.where(inside, theirs, 0.0), inside / radius[:, None]
        side = math.isqrt(ours.shape[1])
        some = torch.arange(side * side, device=ours.device).view(side, side)[::2, ::2].flatten()
        parts = zip(*(x[:, some].split(AT_ONCE) for x in (torch.nan_to_num(ours), theirs, per_radius)))
        found = [
            truncated_l1_scale_shift(*part, truncation=TRUNCATION, anchors=8, generator=generator)
            for part in parts
        ]
        scale, shift = (torch.cat(numbers) for numbers in zip(*found))
        ratio = scale / global_scale[view].clamp(min=1e-12)
        inside = inside & ((ratio > 0.1) & (ratio < 10) & (inside.sum(-1) >= MIN_POINTS))[:, None]
        weight = inverse_depth_weight(target, valid)[view[:, None], rows, columns]
    aligned = follow_alignment(ours, theirs, per_radius, scale, shift)
    error = torch.where(inside, (aligned - theirs).abs() * weight, 0.0)
    per_sphere = error.sum(-1) / inside.sum(-1).clamp(min=1)
    # Every view in which something is valid has the same number of spheres.
    per_view = (x.unflatten(0, (-1, 1, spheres)) for x in (per_sphere, inside.any(-1)))
    return mean_of_views(*per_view) * len(per_sphere) / (spheres * len(depth))


def _draw_spheres(
    target: Tensor, valid: Tensor, intrinsics: Tensor, level: int, spheres: int, generator: torch.Generator
) -> tuple[
    Int[Tensor, " s"], Bool[Tensor, "s k"], Int[Tensor, "s k"], Int[Tensor, "s k"], Float[Tensor, " s"]
]:
    """View, membership, pixel rows and columns, and radius of spheres around random valid pixels."""
    n, H, W = target.shape
    device = target.device
    likely = valid.flatten(1).float()
    seen = (likely.sum(-1) > 0).nonzero()[:, 0]  # views with anything to see
    view = seen.repeat_interleave(spheres)
    centre = view
    if len(seen):
        centre = torch.multinomial(likely[seen], spheres, replacement=True, generator=generator).flatten()
    row, column = centre // W, centre % W

    half = -(-((H * H + W * W) ** 0.5) // (2 * level))
    offset = torch.linspace(-half, half, min(LATTICE, int(2 * half) + 1), device=device)
    spacing = 2 * half / (len(offset) - 1)
    jitter = (torch.rand(len(view), 2, generator=generator, device=device) - 0.5) * (spacing - 1)
    rows = (row[:, None] + offset + jitter[:, :1]).round().long()[:, :, None].expand(-1, -1, len(offset))
    columns = (column[:, None] + offset + jitter[:, 1:]).round().long()[:, None, :].expand_as(rows)
    rows, columns = rows.flatten(1), columns.flatten(1)
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    rows, columns = rows.clamp(0, H - 1), columns.clamp(0, W - 1)

    points = target[..., None] * pixel_rays(torch.linalg.inv(intrinsics), (H, W))
    middle = points[view, row, column]
    focal = (intrinsics[:, 0, 0] + intrinsics[:, 1, 1]) / 2
    radius = middle[:, 2].clamp(min=1e-12) * ((H * H + W * W) ** 0.5 / (2 * level)) / focal[view]
    distance = (points[view[:, None], rows, columns] - middle[:, None]).norm(dim=-1)
    inside = inside & valid[view[:, None], rows, columns] & (distance <= radius[:, None])
    return view, inside, rows, columns, radius


def global_local_terms(
    depth: Float[Tensor, "n H W"],
    target: Float[Tensor, "n H W"],
    valid: Bool[Tensor, "n H W"],
    intrinsics: Float[Tensor, "n 3 3"],
    *,
    generator: torch.Generator,
    levels: Sequence[int] = LEVELS,
    spheres: Sequence[int] = SPHERES,
) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "n H W"]]:
    """The terms whose sum is L_gl, ``global`` and ``local_<level>``, and the globally aligned depth.

    A prediction s D + t, s > 0, of the truth D has zero loss. Without a valid alignment the aligned depth
    is the prediction itself, for a view that carries no loss.

    Args:
        levels: half image diagonals per sphere radius, and
        spheres: how many of each in a view. The paper names MoGe's losses only; these are MoGe's numbers.
    """
    weight = inverse_depth_weight(target, valid)
    scale, shift = align_globally(depth, target, weight, generator=generator)
    flat = (x.flatten(1) for x in (depth, torch.where(valid, target, 0.0), weight))
    aligned = follow_alignment(*flat, scale, shift).view_as(depth)  # type: ignore[arg-type, call-arg, misc]
    found = (scale > 0)[:, None, None]
    terms = {"global": global_loss(aligned, target, valid & found)}
    for level, number in zip(levels, spheres, strict=True):
        terms[f"local_{level}"] = local_loss(
            depth, target, valid, intrinsics, scale, level, generator=generator, spheres=number
        )
    return terms, torch.where(found, aligned, depth)

"""Robust optimal scale and shift: the exact minimum of a truncated, weighted l1 alignment."""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def truncated_l1_scale_shift(
    source: Float[Tensor, "b n"],
    target: Float[Tensor, "b n"],
    weights: Float[Tensor, "b n"],
    *,
    truncation: float = 1.0,
    anchors: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """argmin over s > 0, t of sum_i min(truncation, w_i |s x_i + t - y_i|), for each row.

    The objective is piecewise linear and its truncations only bend downwards, so a minimum (if s > 0 does
    not bind) lies where two residuals vanish: the answer is the best line through two points. For each
    anchor point, whose residual is held at 0, the best s is found exactly: the slope changes by -w|dx|,
    +2w|dx|, -w|dx| where a residual leaves the truncation, passes 0, and enters it again; one sort and two
    running sums give the objective at all of these values. With every point as anchor that is the global
    minimum, in O(n^2 log n). With fewer, each walks on: the second point it meets is its next anchor, which
    never raises the objective. Without gradient: at a minimum a loss may take s and t as constants.

    Args:
        weights: 0 excludes a point, whose values must still be finite.
        anchors: None for all; otherwise so many drawn by ``generator``, and three rounds of walking.

    Returns:
        scale, shift; (0, 0) for a row in which no two points give a positive scale.

    Source: the problem is MoGe's ROE alignment (arXiv:2410.19115) in one dimension; the solver is ours.
    """
    x, y, w = source.double(), target.double(), weights.double()
    b, n = x.shape
    if anchors is None or anchors >= n:
        chosen = torch.arange(n, device=x.device).expand(b, n)
        rounds = 1
    else:
        rounds = 3
        likely = (w > 0).double()
        likely = torch.where(likely.sum(-1, keepdim=True) > 0, likely, 1.0)
        chosen = torch.multinomial(likely, anchors, replacement=True, generator=generator)
    for _ in range(rounds):
        scale, cost, met = _through_anchors(x, y, w, chosen, truncation)
        best = cost.argmin(dim=-1, keepdim=True)
        answer = scale.gather(1, best), chosen.gather(1, best), cost.gather(1, best)
        chosen = met
    scale, anchor, cost = answer
    shift = y.gather(1, anchor) - scale * x.gather(1, anchor)
    found = cost.isfinite()
    return (torch.where(found, scale, 0.0)[:, 0].to(source), torch.where(found, shift, 0.0)[:, 0].to(source))


def _through_anchors(
    x: Tensor, y: Tensor, w: Tensor, chosen: Tensor, truncation: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Best positive scale, its objective and the second point, for lines through each anchor: [b, a] each."""
    dx = x[:, None] - x.gather(1, chosen)[..., None]  # [b, a, n]
    dy = y[:, None] - y.gather(1, chosen)[..., None]
    w = w[:, None].expand_as(dx)
    # A residual does not change when both differences change sign.
    dx, dy = dx.abs(), torch.where(dx < 0, -dy, dy)
    moves = (dx > 1e-12 * x.abs().amax(-1)[:, None, None]) & (w > 0)
    steep = torch.where(moves, w * dx, 1.0)
    zero = torch.where(moves, dy / torch.where(moves, dx, 1.0), torch.inf)  # s of residual 0
    fixed = torch.where(moves, 0.0, (w * dy.abs()).clamp(max=truncation)).sum(-1)

    reach = truncation / steep
    knots = torch.cat((zero - reach, zero, zero + reach), dim=-1)
    bends = torch.cat((-steep, 2 * steep, -steep), dim=-1)
    moving = torch.cat((moves, moves, moves), dim=-1)
    knots = torch.where(moving, knots, torch.inf)
    knots, order = knots.sort(dim=-1)
    bends = torch.where(moving, bends, 0.0).gather(-1, order)
    finite = knots.isfinite()
    places = torch.where(finite, knots, 0.0)
    slopes = bends.cumsum(-1)  # right of each knot; far left every moving residual is truncated
    rise = torch.where(finite[..., 1:], slopes[..., :-1] * places.diff(dim=-1), 0.0)
    rise = torch.cat((torch.zeros_like(rise[..., :1]), rise.cumsum(-1)), dim=-1)
    cost = (truncation * moves.sum(-1))[..., None] + rise + fixed[..., None]

    n = x.shape[1]
    cost = torch.where(finite & (order // n == 1) & (knots > 0), cost, torch.inf)
    # An anchor without weight is not a vertex of the objective.
    cost = torch.where(w.gather(-1, chosen[..., None]) > 0, cost, torch.inf)
    best = cost.argmin(dim=-1, keepdim=True)
    return places.gather(-1, best)[..., 0], cost.gather(-1, best)[..., 0], order.gather(-1, best)[..., 0] % n

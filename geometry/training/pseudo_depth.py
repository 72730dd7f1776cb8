"""Teacher depth brought to measured depth: dense labels with the scale of sparse measurements."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.ops.align import DegenerateAlignment, robust_scale_shift

MIN_INLIER_SHARE = 0.3  # below, the line that was found is one of several
MOST_POINTS = 20_000  # of a view that the fit looks at; more tell it nothing, and dense depth has 250,000
FLAT = 0.1  # spread of measured depth, relative to its mean, below which a view is called flat


@dataclass(frozen=True, kw_only=True)
class AlignmentReport:
    """How one view's alignment went; plain numbers, ready for JSON."""

    failure: str | None  # why there is no label, None if there is one
    points: int  # measured depths used
    scale: float = 0.0
    shift: float = 0.0
    inlier_share: float = 0.0  # part of them that the last fit kept
    residual: float = 0.0  # mean |s D~ + t - D| / D over the inliers
    scale_error: float = 0.0  # standard error of the scale, relative to it
    threshold: float = 0.0  # eq. 8's inlier threshold, in the measured unit


@torch.no_grad()
def align_teacher_depth(
    teacher: Float[Tensor, "H W"],
    measured: Float[Tensor, "H W"],
    valid: Bool[Tensor, "H W"],
    *,
    generator: torch.Generator,
    min_points: int = 50,
    max_scale_error: float = 0.05,
    max_residual: float = 0.2,
) -> tuple[Float[Tensor, "H W"] | None, AlignmentReport]:
    """D_T = s D~ + t with (s, t) from eq. 8, and a report; None instead of a label that cannot be trusted.

    The best line is sought with either sign: if it falls, the teacher's depth is inverted, which
    a constraint s > 0 would only hide. Where s D~ + t is not positive the label is 0,
    which means not valid.

    Args:
        measured: z-depth, dense or sparse; only positive finite values under ``valid`` count.
        min_points: fewer are too little evidence: with 40 % outliers 50 leave 30 good ones for two unknowns.
        max_scale_error: the scale must be known to this relative standard error. Without spread of depth
            among the points scale and shift are not identifiable, however many points there are.
        max_residual: mean relative residual of the inliers above which the two depths disagree in shape.

    Source: DA3 (arXiv:2511.10647) eq. 8; all limits are ours.
    """
    usable = valid & measured.isfinite() & (measured > 0) & teacher.isfinite()
    x, y = teacher[usable].double(), measured[usable].double()
    if len(x) > MOST_POINTS:
        some = torch.randperm(len(x), generator=generator)[:MOST_POINTS]
        x, y = x[some], y[some]
    n = len(x)
    if n < min_points:
        return None, AlignmentReport(failure=f"too few points: {n}, expected {min_points}", points=n)
    try:
        fit = robust_scale_shift(x, y, generator=generator, hypotheses=512, positive=False)
    except DegenerateAlignment:
        return None, AlignmentReport(failure="no spread: the teacher's depth is constant", points=n)

    kept, count = fit.inliers, max(int(fit.inliers.sum()), 1)
    scale = float(fit.scale)
    error = (fit.scale * x + fit.shift - y)[kept]
    noise = error.std(correction=0) / (count**0.5 * x[kept].std(correction=0))
    report = AlignmentReport(
        failure=None,
        points=n,
        scale=scale,
        shift=float(fit.shift),
        inlier_share=count / n,
        residual=float((error.abs() / y[kept]).mean()),
        scale_error=float(noise / max(abs(scale), 1e-300)),
        threshold=float(fit.threshold),
    )
    failure = None
    # Written so that NaN fails.
    if not report.scale_error <= max_scale_error:
        flat = y[kept].std(correction=0) < FLAT * y[kept].mean()
        failure = (
            f"{'no spread' if flat else 'no agreement'}: the scale is uncertain by {report.scale_error:.1%}, "
            f"expected {max_scale_error:.1%}"
        )
    elif scale <= 0:
        failure = f"negative scale: {scale:.3g}"
    elif report.inlier_share < MIN_INLIER_SHARE:
        failure = f"too few inliers: {report.inlier_share:.1%}, expected {MIN_INLIER_SHARE:.1%}"
    elif not report.residual <= max_residual:
        failure = f"residual too large: {report.residual:.1%} of depth, expected {max_residual:.1%}"
    if failure:
        return None, replace(report, failure=failure)
    return (scale * teacher + report.shift).clamp(min=0), report

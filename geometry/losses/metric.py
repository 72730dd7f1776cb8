"""Labels of the metric model: canonical focal length."""

from jaxtyping import Float
from torch import Tensor

from geometry.ops.metric import CANONICAL_FOCAL_PX


def canonical_depth(
    depth_m: Float[Tensor, "B V H W"],
    intrinsics: Float[Tensor, "B V 3 3"],
    *,
    canonical_focal_px: float = CANONICAL_FOCAL_PX,
) -> Float[Tensor, "B V H W"]:
    """Metric depth as a camera of the canonical focal length would see it: D f_c / f.

    An object's size in pixels then fixes its label, whatever the lens: the network need not know it. The
    inverse, at inference, is `geometry.ops.metric.metric_depth`; f is the mean of fx and fy in both.

    Args:
        intrinsics: of the image as the network sees it, after resizing.

    Source: DA3 (arXiv:2511.10647) section 4.4, after Metric3D.
    """
    focal_px = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return depth_m * (canonical_focal_px / focal_px)[..., None, None]

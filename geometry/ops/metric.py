"""Metric scale: canonical-focal depth to metres, and back.

Source: DA3 (arXiv:2511.10647) section 4.4, after Metric3D.
"""

from jaxtyping import Float
from torch import Tensor

CANONICAL_FOCAL_PX = 300.0


def metric_depth(
    output: Float[Tensor, "B V H W"], intrinsics: Float[Tensor, "B V 3 3"]
) -> Float[Tensor, "B V H W"]:
    """Depth in metres from the metric model's output: output * focal_px / 300.

    Args:
        intrinsics: of the processed images; the focal length is the mean of fx and fy.
    """
    return output * (_focal_px(intrinsics) / CANONICAL_FOCAL_PX)


def canonical_depth(
    depth_m: Float[Tensor, "B V H W"],
    intrinsics: Float[Tensor, "B V 3 3"],
    canonical_focal_px: float = CANONICAL_FOCAL_PX,
) -> Float[Tensor, "B V H W"]:
    """Metric depth as a camera of the canonical focal length would see it, the inverse of `metric_depth`.

    An object's size in pixels then fixes its label, whatever the lens: the network need not know it.
    """
    return depth_m * (canonical_focal_px / _focal_px(intrinsics))


def _focal_px(intrinsics: Float[Tensor, "B V 3 3"]) -> Float[Tensor, "B V 1 1"]:
    return ((intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2)[..., None, None]

"""Metric scale: canonical-focal depth to metres."""

from jaxtyping import Float
from torch import Tensor

CANONICAL_FOCAL_PX = 300.0


def metric_depth(
    output: Float[Tensor, "B V H W"], intrinsics: Float[Tensor, "B V 3 3"]
) -> Float[Tensor, "B V H W"]:
    """Depth in metres from the metric model's output: output * focal_px / 300.

    Args:
        intrinsics: of the processed images; the focal length is the mean of fx and fy.

    Source: DA3 (arXiv:2511.10647) section 4.4.
    """
    focal_px = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return output * (focal_px / CANONICAL_FOCAL_PX)[..., None, None]

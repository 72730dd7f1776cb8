"""1 - SSIM as a loss: float32 and its gradient in closed form, for thousands of steps on one scene.

`nvs.metrics.ssim` is the metric: double precision, only windows that fit. This one pads with zeros as 3D
Gaussian Splatting does, and on the CPU its windows run in OpenCV, many times faster than as convolutions.
"""

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nvs.metrics import ssim_kernel

_C1, _C2 = 0.01**2, 0.03**2


class Photo:
    """An image [3, H, W] in 0..1 with its windowed mean and variance, computed once, and its mask."""

    def __init__(self, image: Float[Tensor, "3 H W"], mask: Bool[Tensor, "H W"] | None = None) -> None:
        self.image, self.mask = image, mask
        self.mean = blur(image)
        self.variance = blur(image * image) - self.mean**2


def dissimilarity(pred: Float[Tensor, "3 H W"], photo: Photo) -> Float[Tensor, ""]:
    """1 - SSIM, mean over channels and pixels; differentiable in ``pred``.

    Source: Wang et al. 2004; the window is that of `nvs.metrics.ssim`.
    """
    return _Dissimilarity.apply(pred, photo)


class _Dissimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pred: Tensor, photo: Photo) -> Tensor:
        x, y = pred.detach(), photo.image
        mean_x, mean_y = blur(x), photo.mean
        variances = blur(x * x) - mean_x**2 + photo.variance
        covariance = blur(x * y) - mean_x * mean_y
        a1, a2 = 2 * mean_x * mean_y + _C1, 2 * covariance + _C2
        b1, b2 = mean_x**2 + mean_y**2 + _C1, variances + _C2
        similarity = a1 * a2 / (b1 * b2)
        # Derivatives by the three windowed sums that hold x: its mean, mean of squares, mean of products.
        by_square = -similarity / b2
        by_product = 2 * a1 / (b1 * b2)
        by_mean = 2 * mean_y * a2 / (b1 * b2) - mean_y * by_product
        by_mean = by_mean - 2 * mean_x * similarity / b1 - 2 * mean_x * by_square
        # Zero padding makes the blur its own adjoint.
        gradient = blur(by_mean) + 2 * x * blur(by_square) + y * blur(by_product)
        ctx.save_for_backward(gradient / -x.numel())
        return 1 - similarity.mean()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None


def blur(image: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """Gaussian-weighted mean in SSIM's window around every pixel; zeros outside the image."""
    if image.device.type != "cpu":
        kernel = ssim_kernel(torch.float32).to(image)
        rows = torch.nn.functional.conv2d(image[:, None], kernel.view(1, 1, -1, 1), padding="same")
        return torch.nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1), padding="same")[:, 0]
    kernel = ssim_kernel(torch.float32).numpy()
    channels = [
        cv2.sepFilter2D(channel, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
        for channel in image.contiguous().numpy()
    ]
    return torch.from_numpy(np.stack(channels))

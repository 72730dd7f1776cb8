"""The SSIM loss: its value against a direct computation, its gradient against differences."""

import pytest
import torch
import torch.nn.functional as F

from nvs.refine.ssim_loss import Photo, blur, dissimilarity


@pytest.fixture
def images(generator):
    photo = F.interpolate(torch.rand(1, 3, 6, 8, generator=generator), size=(30, 40), mode="bicubic")[0]
    return (photo + 0.1 * torch.rand(3, 30, 40, generator=generator)).clamp(0, 1), photo.clamp(0, 1)


def direct(x, y):
    """1 - SSIM with zero padding, float64, from its definition."""
    at = torch.arange(11).double() - 5
    line = (-at.square() / 4.5).exp()
    kernel = torch.outer(line, line)[None, None] / line.sum() ** 2

    def mean(z):
        return F.conv2d(z[:, None], kernel, padding=5)[:, 0]

    x, y = x.double(), y.double()
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    top = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
    return 1 - (top / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()


def test_value(images):
    x, y = images
    torch.testing.assert_close(dissimilarity(x, Photo(y)).double(), direct(x, y), rtol=1e-4, atol=1e-6)
    assert dissimilarity(y, Photo(y)).abs() < 1e-5


def test_gradient_is_that_of_the_definition(images):
    x, y = (image.clone().requires_grad_(True) for image in images)
    direct(x, y.detach()).backward()
    wanted, x.grad = x.grad, None
    (3 * dissimilarity(x, Photo(y.detach()))).backward()
    torch.testing.assert_close(x.grad, 3 * wanted, rtol=1e-3, atol=1e-7)


def test_both_blurs_are_one(images):
    """OpenCV's on the CPU and the convolution elsewhere; meta tensors cannot show it, so by hand."""
    x, _ = images
    at = torch.arange(11).float() - 5
    line = (-at.square() / 4.5).exp()
    line = line / line.sum()
    rows = F.conv2d(x[:, None], line.view(1, 1, -1, 1), padding=(5, 0))
    torch.testing.assert_close(blur(x), F.conv2d(rows, line.view(1, 1, 1, -1), padding=(0, 5))[:, 0])

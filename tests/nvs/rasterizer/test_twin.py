"""The PyTorch twin: hand-solved pixels, gradients against finite differences, gsplat's rules."""

import math

import pytest
import torch
from torch.testing import assert_close

from geometry.ops.pinhole import intrinsics_matrix
from geometry.views import Cameras
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize


def one_gaussian(*, z=2.0, opacity=0.7, scale=0.1, rgb=(0.2, 0.5, 0.9)) -> Gaussians:
    return Gaussians(
        means=torch.tensor([[[0.0, 0.0, z]]]),
        quats=torch.tensor([[[2.0, 0.0, 0.0, 0.0]]]),
        scales=torch.full((1, 1, 3), scale),
        opacities=torch.tensor([[opacity]]),
        sh=rgb_to_sh(torch.tensor(rgb))[None, None, None],
    )


def looking_ahead(focal: float, principal: tuple[float, float]) -> Cameras:
    K = torch.tensor([[focal, 0.0, principal[0]], [0.0, focal, principal[1]], [0.0, 0.0, 1.0]])
    return Cameras(extrinsics=torch.eye(4)[None, None], intrinsics=K[None, None])


def test_one_isotropic_gaussian_by_hand():
    # 20 px focal, z = 2: sigma is 1 px, variance 1.3 with eps2d; its mean is the centre of pixel (2, 3).
    image = rasterize(one_gaussian(), looking_ahead(20.0, (3.5, 2.5)), (6, 8), backend="torch")
    for row, column in [(2, 3), (2, 4), (4, 3), (1, 5)]:
        squared = (row - 2) ** 2 + (column - 3) ** 2
        alpha = 0.7 * math.exp(-0.5 * squared / 1.3)
        assert_close(image.alpha[0, 0, row, column].item(), alpha, rtol=1e-5, atol=1e-6)
        assert_close(
            image.rgb[0, 0, :, row, column], alpha * torch.tensor([0.2, 0.5, 0.9]), rtol=1e-5, atol=1e-6
        )
        assert_close(image.depth[0, 0, row, column].item(), 2.0, rtol=1e-5, atol=1e-6)


def test_nearer_gaussians_hide_farther_ones_in_any_order():
    near, far = (
        one_gaussian(z=2.0, opacity=0.6, rgb=(1.0, 0.0, 0.0)),
        one_gaussian(z=4.0, opacity=0.5, scale=0.2),
    )
    for pair in ((near, far), (far, near)):
        both = Gaussians(**{k: torch.cat([getattr(g, k) for g in pair], dim=1) for k in vars(near)})
        image = rasterize(both, looking_ahead(20.0, (3.5, 2.5)), (6, 8), depth="accumulated", backend="torch")
        weights = 0.6, 0.4 * 0.5
        assert_close(image.alpha[0, 0, 2, 3].item(), sum(weights), rtol=1e-5, atol=1e-6)
        assert_close(image.depth[0, 0, 2, 3].item(), 2 * weights[0] + 4 * weights[1], rtol=1e-5, atol=1e-6)
        assert_close(image.rgb[0, 0, 1, 2, 3].item(), 0.5 * weights[1], rtol=1e-5, atol=1e-6)


def test_background_shows_through():
    background = torch.tensor([0.1, 0.2, 0.3])
    image = rasterize(
        one_gaussian(), looking_ahead(20.0, (3.5, 2.5)), (6, 8), background=background, backend="torch"
    )
    assert_close(image.rgb[0, 0, :, 2, 3], 0.7 * torch.tensor([0.2, 0.5, 0.9]) + 0.3 * background)
    assert_close(image.rgb[0, 0, :, 5, 7], background, rtol=0, atol=1e-3)


def test_alpha_is_cut_off():
    camera = looking_ahead(20.0, (3.5, 2.5))
    image = rasterize(one_gaussian(opacity=1.0), camera, (6, 8), backend="torch")
    assert_close(image.alpha.max().item(), 0.999, rtol=0, atol=1e-6)


def test_antialiasing_keeps_the_light_of_a_small_gaussian():
    # Variance 1 blurred to 1.3 in both axes: the peak falls by the ratio of the areas, 1 / 1.3.
    image = rasterize(
        one_gaussian(), looking_ahead(20.0, (3.5, 2.5)), (6, 8), antialiased=True, backend="torch"
    )
    assert_close(image.alpha[0, 0, 2, 3].item(), 0.7 / 1.3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("near", "far", "seen"), [(0.01, 10.0, True), (2.1, 10.0, False), (0.01, 1.9, False)]
)
def test_near_and_far_planes(near, far, seen):
    image = rasterize(
        one_gaussian(), looking_ahead(20.0, (3.5, 2.5)), (6, 8), near=near, far=far, backend="torch"
    )
    assert (image.alpha.max() > 0).item() is seen


@pytest.mark.parametrize(("degree", "antialiased"), [(0, False), (3, True)])
def test_gradients_match_finite_differences(scene, cameras, degree, antialiased):
    gaussians = scene(4, degree=degree, size=0.3).to(torch.float64)
    view = cameras(1, (3, 4)).to(torch.float64)
    focal, principal = view.intrinsics[..., [0, 1], [0, 1]], view.intrinsics[..., :2, 2]
    background = torch.tensor([0.3, 0.1, 0.6], dtype=torch.float64)

    def render(means, quats, scales, opacities, sh, extrinsics, focal, principal, background):
        image = rasterize(
            Gaussians(means=means, quats=quats, scales=scales, opacities=opacities, sh=sh),
            Cameras(extrinsics=extrinsics, intrinsics=intrinsics_matrix(focal, principal)),
            (3, 4),
            background=background,
            antialiased=antialiased,
            backend="torch",
        )
        return image.rgb, image.depth, image.alpha

    inputs = [*vars(gaussians).values(), view.extrinsics, focal, principal, background]
    # Degree 3 has hundreds of inputs: random directions instead of one at a time.
    leaves = [t.clone().requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(render, leaves, fast_mode=degree == 3)

"""Dense heads: chunks, branches and the reordering that makes them cheaper leave the numbers alone."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from geometry.models.dpt import FusionBlock, ResidualUnit, resize
from geometry.models.dual_dpt import DualDpt, MonocularDpt
from geometry.ops.sky import fill_sky, quantile
from geometry.prediction import Features
from nvs.model.gs_dpt import GaussianDpt

GRID, SIZE = (3, 4), (42, 56)


@pytest.fixture
def features(generator):
    patches = [torch.randn(2, 3, 12, 32, generator=generator) for _ in range(4)]
    return Features(patches=patches, camera_tokens=[], grid=GRID, image_size=SIZE)


def dual():
    torch.manual_seed(0)
    head = DualDpt(32, (8, 8, 16, 16), 16).eval()
    return lambda f, chunk: head(f, chunk)


def monocular():
    torch.manual_seed(0)
    head = MonocularDpt(32, (8, 8, 16, 16), 16).eval()
    return lambda f, chunk: head(f, chunk)


def gaussian():
    torch.manual_seed(0)
    head = GaussianDpt(32, (8, 8, 16, 16), 16, raw_channels=5).eval()
    images = torch.randn(2, 3, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return lambda f, chunk: head(f.patches, f.grid, images, chunk)


@pytest.mark.parametrize("make", [dual, monocular, gaussian])
def test_chunks_do_not_change_the_numbers(make, features):
    head = make()
    wanted = [o.detach() for o in head(features, 99)]
    assert all(o.shape[:2] == (2, 3) for o in wanted)
    for chunk in (1, 4):
        for o, w in zip(head(features, chunk), wanted):
            assert_close(o.detach(), w, atol=1e-5, rtol=1e-5)


def test_leaving_the_rays_out_leaves_the_depth(features):
    torch.manual_seed(0)
    head = DualDpt(32, (8, 8, 16, 16), 16).eval()
    depth, conf, rays, ray_conf = head(features)
    assert rays.shape == (2, 3, 24, 32, 6)
    assert conf.min() >= 1
    assert ray_conf.min() >= 1
    depth_only, _, none, _ = head(features, rays=False)
    assert none is None
    assert_close(depth_only, depth)


def test_every_weight_of_the_head_has_a_gradient(features):
    head = DualDpt(32, (8, 8, 16, 16), 16)
    sum(o.mean() for o in head(features)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_gradients_pass_the_changes_in_place(generator):
    unit = ResidualUnit(3).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(unit, x)
    block = FusionBlock(3, lateral=True).double()
    top = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, lateral: block(t, lateral, (5, 6)), (top, x))


def test_fusion_is_dpts(generator):
    """With the 1 x 1 convolution after the resize, as the paper has it."""
    block = FusionBlock(4, lateral=True)
    top, lateral = torch.randn(2, 1, 4, 3, 5, generator=generator)

    def unit(u, x):
        return x + u.conv2(F.relu(u.conv1(F.relu(x))))

    wanted = block.out(resize(unit(block.unit, top + unit(block.lateral_unit, lateral)), (6, 9)))
    assert_close(block(top, lateral, (6, 9)), wanted, atol=1e-5, rtol=1e-5)


def test_maps_are_channels_last_even_for_one_view(features):
    """The layout in which CPUs' convolutions are fastest is easily lost, and no number shows it."""
    head = DualDpt(32, (8, 8, 16, 16), 16).eval()
    seen = []
    head.depth_out[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.inference_mode():
        head(
            Features(
                patches=[p[:1, :1] for p in features.patches], camera_tokens=[], grid=GRID, image_size=SIZE
            )
        )
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert not seen[0].is_contiguous()


def test_sky_is_put_behind_everything():
    depth = torch.linspace(1.0, 2.0, 400).reshape(1, 20, 20)
    sky = torch.zeros(1, 20, 20)
    sky[:, :1] = 1.0
    filled = fill_sky(depth, sky)
    ground = depth[:, 1:].flatten()
    assert_close(filled[:, 1:], depth[:, 1:])
    assert_close(filled[0, 0], torch.quantile(ground, 0.99).expand(20))
    assert_close(quantile(ground, 0.3), torch.quantile(ground, 0.3))
    assert fill_sky(depth, torch.zeros_like(sky)) is depth

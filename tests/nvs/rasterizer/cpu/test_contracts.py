"""What a caller relies on: the same bits on any number of threads, safe graphs, finite results, errors."""

import threading

import pytest
import torch

from geometry.errors import InputError
from nvs.rasterizer import rasterize

SIZE = (24, 40)


def bits(gaussians, cameras, image_size=SIZE, **options):
    """Images and all gradients."""
    gaussians = gaussians.map(lambda t: t.detach().clone().requires_grad_())
    cameras = cameras.map(lambda t: t.detach().clone().requires_grad_())
    image = rasterize(gaussians, cameras, image_size, **{"backend": "cpu", **options})
    weight = torch.linspace(-1, 2, image.rgb.numel()).view(image.rgb.shape)
    ((image.rgb * weight).sum() + (image.depth * image.alpha).sum()).backward()
    leaves = [*vars(gaussians).values(), *vars(cameras).values()]
    return [t.detach() for t in vars(image).values()] + [t.grad for t in leaves]


def all_equal(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second))


def test_any_number_of_threads_gives_the_same_bits(scene, cameras):
    gaussians, views = scene(5000, degree=1, size=0.05), cameras(2, SIZE)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(bits(gaussians, views))
    finally:
        torch.set_num_threads(before)
    assert all_equal(results[0], results[1])
    assert all_equal(results[0], results[2])


def test_several_python_threads_at_once(scene, cameras):
    gaussians, view = scene(2000), cameras(1, SIZE)
    wanted, results = bits(gaussians, view), [None] * 4

    def work(k: int) -> None:
        results[k] = bits(gaussians, view)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(all_equal(wanted, result) for result in results)


def test_buffers_live_as_long_as_their_graph(scene, cameras):
    """Another rendering between forward and backward, and a second backward, change nothing."""
    gaussians, view = scene(800).map(lambda t: t.requires_grad_()), cameras(1, SIZE)
    first = rasterize(gaussians, view, SIZE, backend="cpu")
    kept = first.rgb.detach().clone()
    (wanted,) = torch.autograd.grad(first.rgb.sum(), gaussians.means, retain_graph=True)
    wanted = wanted.clone()
    for _ in range(3):
        other = scene(800).map(lambda t: t.requires_grad_())
        rasterize(other, view, SIZE, backend="cpu").rgb.sum().backward()
    (again,) = torch.autograd.grad(first.rgb.sum(), gaussians.means)
    assert torch.equal(first.rgb, kept)
    assert torch.equal(again, wanted)


def test_no_gradients_asked_none_prepared(scene, cameras):
    with torch.no_grad():
        image = rasterize(scene(50), cameras(1, SIZE), SIZE, backend="cpu")
    assert not image.rgb.requires_grad


def nasty(scene):
    """Gaussians that must not hurt the healthy ones after them."""
    gaussians = scene(64)
    with torch.no_grad():
        gaussians.means[0, 0] = torch.tensor([0.0, 0.0, -2.0])  # behind
        gaussians.means[0, 1] = 0.0  # at the camera, roughly
        gaussians.means[0, 2] = torch.nan
        gaussians.means[0, 3] = torch.inf
        gaussians.means[0, 4] = torch.tensor([1e30, 0.0, 2.0])
        gaussians.scales[0, 5] = 0.0
        gaussians.scales[0, 6] = 1e4
        gaussians.scales[0, 7] = 1e25
        gaussians.scales[0, 8] = torch.nan
        gaussians.scales[0, 9] = torch.tensor([50.0, 1e-6, 1e-6])
        gaussians.quats[0, 10] = 0.0
        gaussians.quats[0, 11] = 1e-30
        gaussians.quats[0, 12] = 1e25
        gaussians.quats[0, 13] = torch.nan
        gaussians.opacities[0, 14] = 0.0
        gaussians.opacities[0, 15] = 1.0
        gaussians.opacities[0, 16] = torch.nan
        gaussians.opacities[0, 17] = 1.0 / 255.0
        gaussians.sh[0, 18] = torch.nan
        gaussians.sh[0, 19] = torch.inf
        gaussians.sh[0, 20] = -100.0
    return gaussians


@pytest.mark.parametrize("antialiased", [False, True])
def test_degenerate_gaussians_leave_everything_finite(scene, cameras, antialiased):
    results = bits(nasty(scene), cameras(2, SIZE), antialiased=antialiased)
    assert all(t.isfinite().all() for t in results)
    assert results[0].abs().max() > 0.1, "the healthy ones are still seen"


def test_degenerate_gaussians_are_treated_as_by_the_twin(scene, cameras):
    gaussians = nasty(scene)
    # Two that only float64 can hold; float32 leaves them out.
    gaussians.means[0, 4, 0], gaussians.scales[0, 7] = 0.0, 0.01
    gaussians.quats[0, 12] = 1.0
    ours = bits(gaussians, cameras(1, SIZE))
    wanted = bits(gaussians, cameras(1, SIZE), backend="torch")
    assert all(t.isfinite().all() for t in wanted)
    for actual, expected in zip(ours[:3], wanted[:3]):
        assert ((actual - expected).abs() > 1e-3).double().mean() < 2e-3


@pytest.mark.parametrize("image_size", [(1, 1), (1, 33), (17, 1), (16, 16)])
def test_small_images(scene, cameras, image_size):
    view = cameras(1, image_size)
    gaussians = scene(200)
    ours = rasterize(gaussians, view, image_size, backend="cpu")
    wanted = rasterize(gaussians, view, image_size, backend="torch")
    assert ours.rgb.shape == (1, 1, 3, *image_size)
    torch.testing.assert_close(ours.rgb, wanted.rgb, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_no_gaussians_give_the_background(scene, cameras, backend):
    background = torch.tensor([0.1, 0.2, 0.3])
    nothing = scene(0).map(lambda t: t.requires_grad_())
    image = rasterize(nothing, cameras(2, SIZE), SIZE, background=background, backend=backend)
    assert torch.equal(image.rgb, background[:, None, None].expand(1, 2, 3, *SIZE))
    assert image.depth.abs().max() == image.alpha.abs().max() == 0
    if backend == "cpu":
        image.rgb.sum().backward()
        assert nothing.means.grad.shape == (1, 0, 3)


@pytest.mark.extended
@pytest.mark.parametrize("same_depth", [False, True])
def test_a_million_gaussians_in_one_tile(scene, cameras, same_depth):
    gaussians = scene(1_000_000)
    gaussians.means[..., :2] *= 0.01
    if same_depth:
        gaussians.means[..., 2] = 2.0
    gaussians.opacities[:] = 0.005  # so faint that hundreds are laid over each other
    results = bits(gaussians, cameras(1, (16, 16)), (16, 16))
    assert all(t.isfinite().all() for t in results)
    assert results[2].max() > 0.99


def test_errors_say_what_is_wrong(scene, cameras, unchecked):
    gaussians, view = scene(3), cameras(1, SIZE)
    with pytest.raises(InputError, match="float32"):
        rasterize(gaussians.to(torch.float64), view.to(torch.float64), SIZE, backend="cpu")
    with pytest.raises(InputError, match=r"cameras.extrinsics must be \[1, 'V', 4, 4\]|cameras.extrinsics"):
        rasterize(gaussians, cameras(1, SIZE, batch=2), SIZE)
    with pytest.raises(InputError, match="one of auto, cuda, cpu, torch"):
        rasterize(gaussians, view, SIZE, backend="metal")
    with pytest.raises(InputError, match="at least one pixel"):
        rasterize(gaussians, view, (0, 5))
    with pytest.raises(InputError, match="32767"):
        rasterize(gaussians, view, (1, 40_000), backend="cpu")
    with pytest.raises(InputError, match="background"):
        rasterize(gaussians, view, SIZE, background=torch.zeros(4))
    with pytest.raises(InputError, match="near"):
        rasterize(gaussians, view, SIZE, near=0.0)
    broken = cameras(1, SIZE)
    broken.extrinsics[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="finite"):
        rasterize(gaussians, broken, SIZE)
    skewed = cameras(1, SIZE)
    skewed.intrinsics[..., 0, 1] = 1.0
    with pytest.raises(InputError, match="skew"):
        rasterize(gaussians, skewed, SIZE)

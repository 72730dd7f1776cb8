"""gsplat's CUDA kernels against the PyTorch twin, values and gradients; and what happens without CUDA."""

import fcntl
import os
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pretended_cuda import pretended_cuda

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer import cuda, rasterize, twin
from nvs.rasterizer.backends import _warn_once
from nvs.rasterizer.cuda import _drawable
from nvs.rasterizer.settings import Settings

SIZE = (40, 56)


def rendered_with_gradients(gaussians, cameras, backend, *, intrinsics_gradient=True, **options):
    gaussians = gaussians.map(lambda t: t.detach().clone().requires_grad_())
    extrinsics = cameras.extrinsics.detach().clone().requires_grad_()
    intrinsics = cameras.intrinsics.detach().clone().requires_grad_(intrinsics_gradient)
    view = Cameras(extrinsics=extrinsics, intrinsics=intrinsics)
    image = rasterize(gaussians, view, SIZE, backend=backend, **options)
    outputs = [image.rgb, image.depth, image.alpha]
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
    sum((w * t).sum() for w, t in zip(weights, outputs)).backward()
    leaves = [*vars(gaussians).values(), extrinsics, *([intrinsics] if intrinsics_gradient else [])]
    return [t.detach().double().cpu() for t in outputs], [t.grad.double().cpu() for t in leaves]


def off_by(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((actual - wanted).norm() / wanted.norm().clamp(min=1e-12)).item()


@pytest.mark.gpu
@pytest.mark.parametrize("intrinsics_gradient", [False, True])
@pytest.mark.parametrize(("degree", "antialiased"), [(0, False), (1, True), (3, False)])
def test_gsplat_s_kernels_match_the_twin(scene, cameras, degree, antialiased, intrinsics_gradient):
    gaussians, views = scene(1500, batch=2, degree=degree), cameras(2, SIZE, batch=2)
    options = {
        "antialiased": antialiased,
        "background": torch.tensor([0.2, 0.3, 0.4]),
        "intrinsics_gradient": intrinsics_gradient,
    }
    values, gradients = rendered_with_gradients(gaussians.to("cuda"), views.to("cuda"), "cuda", **options)
    # The twin in float64 on the CPU: fewer roundings than either.
    wanted = rendered_with_gradients(gaussians.to(torch.float64), views.to(torch.float64), "torch", **options)
    for actual, expected in zip(values, wanted[0]):
        assert ((actual - expected).abs() > 1e-3).double().mean() < 5e-4
    for actual, expected in zip(gradients, wanted[1]):
        assert off_by(actual, expected) < 5e-3


@pytest.mark.gpu
@pytest.mark.parametrize(("B", "V", "N"), [(2, 1, 300), (3, 1, 40), (2, 2, 20)])
def test_gsplat_s_gradients_keep_scenes_apart(scene, cameras, B, V, N):
    gaussians, views = scene(N, batch=B), cameras(V, SIZE, batch=B)
    options = {"intrinsics_gradient": False}
    _, actual = rendered_with_gradients(gaussians.to("cuda"), views.to("cuda"), "cuda", **options)
    _, wanted = rendered_with_gradients(
        gaussians.to(torch.float64), views.to(torch.float64), "torch", **options
    )
    for a, w in zip(actual, wanted):
        assert off_by(a, w) < 5e-3


@pytest.mark.gpu
def test_gsplat_s_kernels_match_the_numba_kernels(scene, cameras):
    gaussians, views = scene(20000, degree=1, size=0.03), cameras(1, SIZE)
    for depth in ("expected", "accumulated"):
        values, gradients = rendered_with_gradients(
            gaussians.to("cuda"), views.to("cuda"), "cuda", depth=depth, intrinsics_gradient=False
        )
        wanted = rendered_with_gradients(gaussians, views, "cpu", depth=depth, intrinsics_gradient=False)
        for actual, expected in zip(values, wanted[0]):
            assert ((actual - expected).abs() > 1e-3).double().mean() < 5e-4
        for actual, expected in zip(gradients, wanted[1]):
            assert off_by(actual, expected) < 5e-3


@pytest.mark.gpu
def test_colours_given_and_no_gaussians_at_all(scene, cameras):
    gaussians, views = scene(300).to("cuda"), cameras(1, SIZE).to("cuda")
    colors = torch.rand(1, 300, 3, device="cuda")
    image = rasterize(gaussians, views, SIZE, colors=colors)
    wanted = rasterize(gaussians.to("cpu"), views.to("cpu"), SIZE, colors=colors.cpu(), backend="torch")
    assert ((image.rgb.cpu() - wanted.rgb).abs() > 1e-3).double().mean() < 5e-4
    nothing = rasterize(gaussians.map(lambda t: t[:, :0]), views, SIZE)
    assert nothing.rgb.abs().max() == 0
    assert nothing.depth.abs().max() == 0


def spoil(gaussians: Gaussians) -> None:
    """Every kind of Gaussian that cannot be drawn, or only just."""
    gaussians.means[0, 0, 2] = -1.0
    gaussians.scales[0, 1] = 0.0
    gaussians.quats[0, 2] = 0.0
    gaussians.opacities[0, 3], gaussians.opacities[0, 4] = 0.0, 1.0
    gaussians.means[0, 5, 0] = torch.nan
    gaussians.quats[0, 6, 1] = torch.nan
    gaussians.scales[0, 7, 2] = torch.inf
    gaussians.opacities[0, 8] = torch.nan
    gaussians.sh[0, 9, 0, 0] = -torch.inf
    gaussians.scales[0, 10] = 1e25


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [9e4, 1e7, 1e11])
def test_huge_gaussians_leave_gradients_finite(scene, cameras, scale):
    gaussians = scene(64)
    gaussians.scales[0, 5], gaussians.scales[0, 6, 0] = scale, scale
    kernels = {"intrinsics_gradient": False}  # with it, projection would not be gsplat's
    _, gradients = rendered_with_gradients(
        gaussians.to("cuda"), cameras(1, SIZE).to("cuda"), "cuda", **kernels
    )
    assert all(t.isfinite().all() for t in gradients)


@pytest.mark.gpu
def test_degenerate_gaussians_are_as_in_the_twin_on_cuda(scene, cameras):
    gaussians, views = scene(64), cameras(1, SIZE)
    spoil(gaussians)
    kernels = {"intrinsics_gradient": False}  # with it, projection would not be gsplat's
    values, gradients = rendered_with_gradients(gaussians.to("cuda"), views.to("cuda"), "cuda", **kernels)
    wanted, _ = rendered_with_gradients(gaussians, views, "torch", **kernels)
    for actual, expected in zip(values, wanted):
        assert ((actual - expected).abs() > 1e-3).double().mean() < 5e-4
    assert all(t.isfinite().all() for t in gradients)


@pytest.mark.parametrize("colored", [False, True], ids=["SH", "colours"])
def test_gsplat_s_kernels_are_given_only_what_they_can_draw(scene, cameras, colored):
    """What is left after the sieve draws the same in the twin; what was taken out has no gradient."""
    gaussians, views = scene(64, degree=1), cameras(1, SIZE)
    spoil(gaussians)
    colors = torch.rand(1, 64, 3) if colored else None
    if colored:
        colors[0, 11] = torch.nan
    leaves = gaussians.map(lambda t: t.requires_grad_())
    sieved, sieved_colors = _drawable(leaves, colors)
    assert all(t.isfinite().all() for t in vars(sieved).values())
    assert (sieved.quats[0, 2] == torch.tensor([1.0, 0.0, 0.0, 0.0])).all()
    actual = rasterize(sieved, views, SIZE, colors=sieved_colors, backend="torch")
    wanted = rasterize(gaussians, views, SIZE, colors=colors, backend="torch")
    assert torch.equal(actual.rgb, wanted.rgb)
    assert torch.equal(actual.alpha, wanted.alpha)
    (actual.rgb.sum() + actual.alpha.sum()).backward()
    fields = [t for name, t in vars(leaves).items() if not (colored and name == "sh")]
    assert all((t.grad[0, 5:11] == 0).all() for t in fields)


def test_a_failing_import_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr(cuda, "_load", cuda._load.__wrapped__)
    monkeypatch.setitem(sys.modules, "gsplat", None)  # makes `import gsplat` raise
    with pytest.raises(InputError, match=r"nvcc.*backends 'auto' and 'cpu'") as caught:
        cuda.import_gsplat()
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_kernels(monkeypatch):
    """A GPU, and no compiler for its kernels."""
    monkeypatch.setattr("nvs.rasterizer.cuda._load", lambda: "gsplat found no nvcc")
    _warn_once.cache_clear()
    with pretended_cuda():
        yield


def test_without_kernels_cuda_tensors_are_rendered_on_the_cpu(scene, cameras, no_kernels):
    gaussians, views = scene(40, batch=2, degree=1), cameras(2, SIZE, batch=2)
    colors, background = torch.rand(2, 40, 3), torch.tensor([0.2, 0.3, 0.4])
    wanted = rendered_with_gradients(gaussians, views, "cpu", background=background)
    on_cuda = gaussians.to("cuda"), views.to("cuda")
    with pytest.warns(UserWarning, match=r"on the CPU.*no nvcc"):
        actual = rendered_with_gradients(*on_cuda, "auto", background=background)
    for a, w in zip(actual[0] + actual[1], wanted[0] + wanted[1]):
        assert torch.equal(a, w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        image = rasterize(*on_cuda, SIZE, colors=colors.to("cuda"))
    assert image.rgb.device.type == image.depth.device.type == image.alpha.device.type == "cuda"
    assert torch.equal(image.rgb.cpu(), rasterize(gaussians, views, SIZE, colors=colors).rgb)


def test_without_kernels_cuda_asked_for_by_name_is_refused(scene, cameras, no_kernels):
    with pytest.raises(InputError, match="no nvcc"):
        rasterize(scene(3).to("cuda"), cameras(1, SIZE).to("cuda"), SIZE, backend="cuda")


GSPLAT_THAT_LOOKS_AROUND = """
import fcntl, os, pathlib, shutil
_C = {"ninja": shutil.which("ninja"), "locked": False}
lock = pathlib.Path(os.environ["TORCH_EXTENSIONS_DIR"], "gsplat.lock")
try:
    fcntl.flock(lock.open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    _C["locked"] = True
print("set up successfully")
"""


def test_kernels_are_compiled_with_ninja_and_by_one_process_at_a_time(monkeypatch, tmp_path, capsys):
    """gsplat is replaced by one that notes what is so during its import."""
    folder = tmp_path / "gsplat" / "cuda"
    folder.mkdir(parents=True)
    (folder / "_backend.py").write_text(GSPLAT_THAT_LOOKS_AROUND)
    (folder.parent / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")  # an environment that is not activated
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    cuda._load.__wrapped__()
    found = sys.modules["gsplat.cuda._backend"]._C
    for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
        del sys.modules[name]
    assert found["ninja"]
    assert found["locked"]
    assert os.environ["PATH"] == "/nonexistent"
    assert capsys.readouterr().out == ""  # commands print their result there and nothing else
    with open(tmp_path / "extensions" / "gsplat.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


SETTINGS = Settings(image_size=(6, 9), near=0.1, far=9.0, eps2d=0.3, antialiased=True)


def gsplat_s_place(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options):
    """The twin in gsplat's layouts; one scene at a time, since gsplat's backward mixes several."""
    assert len(means) == len(viewmats) == 1
    assert (width, height, options["near_plane"], options["far_plane"]) == (9, 6, 0.1, 9.0)
    assert (options["sh_degree"], options["rasterize_mode"]) == (1, "antialiased")
    rgb, depth, alpha = twin.render(
        Gaussians(means=means, quats=quats, scales=scales, opacities=opacities, sh=colors),
        None,
        Cameras(extrinsics=viewmats, intrinsics=Ks),
        SETTINGS,
    )
    return torch.cat((rgb, depth[:, :, None]), dim=2).movedim(2, -1), alpha[..., None], {}


@pytest.fixture
def twin_as_gsplat(monkeypatch):
    gsplat = SimpleNamespace(rasterization=gsplat_s_place)
    monkeypatch.setattr("nvs.rasterizer.cuda.import_gsplat", lambda: gsplat)


def test_gsplat_s_layouts_are_turned_into_ours(scene, cameras, twin_as_gsplat):
    """With the twin in gsplat's place, returning gsplat's layouts, the backend gives the twin's images."""
    gaussians, views = scene(40, batch=2, degree=1), cameras(3, (6, 9), batch=2)
    for actual, wanted in zip(
        cuda.render(gaussians, None, views, SETTINGS), twin.render(gaussians, None, views, SETTINGS)
    ):
        assert torch.equal(actual, wanted)


@pytest.mark.parametrize(("B", "V", "N"), [(0, 2, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_draw_starts_no_kernel(scene, cameras, monkeypatch, B, V, N):
    monkeypatch.setattr(cuda, "import_gsplat", lambda: None)
    gaussians, views = scene(5, batch=2).map(lambda t: t[:B, :N]), cameras(3, (6, 9), batch=2)
    rgb, depth, alpha = cuda.render(gaussians, None, views[:B, :V], SETTINGS)
    assert rgb.shape == (B, V, 3, 6, 9)
    assert depth.shape == alpha.shape == (B, V, 6, 9)
    assert not rgb.any()


def test_out_of_view_all_inputs_have_zero_gradients_beside_the_intrinsics(scene, cameras, monkeypatch):
    monkeypatch.setattr(cuda, "import_gsplat", lambda: None)
    gaussians, views = scene(5), cameras(1, (6, 9))
    gaussians = replace(gaussians, means=gaussians.means - 100.0).map(lambda t: t.requires_grad_())
    views = views.map(lambda t: t.requires_grad_())
    settings = replace(SETTINGS, antialiased=False)
    sum(t.sum() for t in cuda.render(gaussians, None, views, settings)).backward()
    assert all(t.grad is not None and not t.grad.any() for t in vars(gaussians).values())


def test_cameras_of_an_inference_mode_take_gradients_of_gaussians(scene, cameras, twin_as_gsplat):
    with torch.inference_mode():
        views = cameras(1, (6, 9))
    gaussians = scene(40, degree=1).map(lambda t: t.requires_grad_())
    cuda.render(gaussians, None, views, SETTINGS)[0].sum().backward()
    assert gaussians.means.grad.any()


@pytest.mark.parametrize("scale", [1e6, 1e9, 1e11])
def test_scales_at_which_gsplat_s_gradients_overflow_are_left_out(scene, scale):
    gaussians = scene(3)
    gaussians.scales[0, 1, 0] = scale
    sieved, _ = _drawable(gaussians, None)
    assert sieved.opacities[0, 1] == 0
    assert (sieved.opacities[0, [0, 2]] > 0).all()


def test_cuda_backend_refuses_cpu_tensors(scene, cameras):
    gaussians: Gaussians = scene(3)
    with pytest.raises(InputError, match="needs tensors on cuda"):
        rasterize(gaussians, cameras(1, SIZE), SIZE, backend="cuda")

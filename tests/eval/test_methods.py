"""Methods: references against what they should show, other people's functions and folders, refusals."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import make_arc, task_of

from eval.methods.base import About, Pictured, Splatted
from eval.methods.external import Function, Renders
from eval.methods.model import optimised
from eval.methods.references import MeanColour, NearestView, Swept, WarpedView, surface_gaussians
from eval.predict import ViewSynthesis
from eval.predict import _picture as picture_of
from geometry.errors import InputError
from geometry.visualize import write_image
from nvs.metrics import psnr
from nvs.options import GaussianOptions


@pytest.fixture(scope="module")
def rendered():
    return make_arc(7)


@pytest.fixture(scope="module")
def task(rendered):
    """Targets 1 and 4; the context is the rest."""
    context = [rendered[i] for i in (0, 2, 3, 5, 6)]
    return task_of(context, [rendered[1], rendered[4]], posed=True)


def quality(prediction, rendered):
    photos = [torch.tensor(rendered[i].image).permute(2, 0, 1).float() / 255 for i in (1, 4)]
    return torch.stack([psnr(prediction.render(i)[0][None], p[None])[0] for i, p in enumerate(photos)])


def test_nearest_and_mean(task, rendered):
    nearest = NearestView().predict(task)
    assert nearest.notes["nearest"][0] in (0, 1)
    torch.testing.assert_close(nearest.render(1)[0], task.photos.images[0, nearest.notes["nearest"][1]])
    mean = MeanColour().predict(task).render(0)[0]
    assert mean.shape == (3, 36, 64)
    torch.testing.assert_close(mean[:, 3, 5], task.photos.images.mean(dim=(0, 1, 3, 4)))


class TrueDepth:
    about = About(name="truth", weights="no weights", licence="-")

    def __init__(self, rendered):
        self.maps = torch.stack([torch.tensor(rendered[i].depth) for i in (0, 2, 3, 5, 6)])[None].float()

    def depth(self, task):
        return self.maps


def test_warp_by_true_depth_beats_nearest(task, rendered):
    warped = WarpedView(TrueDepth(rendered)).predict(task)
    assert (quality(warped, rendered) > quality(NearestView().predict(task), rendered) + 1).all()
    _, depth = warped.render(0)
    seen = torch.tensor(rendered[1].depth).float()
    assert ((depth / seen - 1).abs() < 0.1).float().mean() > 0.7


def test_sweep_finds_the_walls(task, rendered):
    truth = TrueDepth(rendered).maps
    depth = Swept(spacing=1.0).depth(task)
    assert ((depth / truth - 1).abs() < 0.1).float().mean() > 0.5


@pytest.mark.extended
def test_optimisation_improves_the_sweep(task, rendered):
    scores = []
    for steps in (0, 40):
        method = optimised(GaussianOptions(refine=steps, spacing=1.0), torch.device("cpu"))
        assert method.given_poses == "needed"
        scores.append(quality(rendering(method.predict(task), task), rendered).mean())
    assert scores[1] > scores[0] + 1


def rendering(answer, task):
    from nvs.rasterizer import rasterize

    images = rasterize(answer.gaussians, task.targets, task.size).rgb[0]
    return Pictured(render=lambda t: (images[t], None))


@pytest.fixture
def module(monkeypatch, tmp_path):
    """A module of somebody's own, with a file."""
    made = types.ModuleType("somebodys")
    made.__file__ = str(tmp_path / "somebodys.py")
    (tmp_path / "somebodys.py").write_text("version = 1\n")
    monkeypatch.setitem(sys.modules, "somebodys", made)
    return made


def test_function_to_gaussians(task, rendered, module):
    depth = TrueDepth(rendered).maps
    module.splat = lambda context: surface_gaussians(context, depth)
    method = Function("somebodys:splat")
    assert method.given_poses == "optional"
    answer = method.predict(task)
    assert isinstance(answer, Splatted)
    assert answer.cameras is None
    unposed = replace(task, context=replace(task.context, cameras=None))
    module.splat = lambda context: surface_gaussians(task.photos, depth)
    with pytest.raises(InputError, match="got Gaussians alone"):
        Function("somebodys:splat").predict(unposed)
    module.splat = lambda context: (surface_gaussians(task.photos, depth), task.photos.cameras)
    assert Function("somebodys:splat").predict(unposed).cameras is not None


def test_function_to_images(task, module):
    def draw(context, targets, size):
        return torch.full((1, targets.extrinsics.shape[1], 3, *size), 0.25)

    draw.weights, draw.licence = "mine", "MIT"
    module.draw = draw
    method = Function("somebodys:draw")
    assert (method.about.weights, method.about.licence) == ("mine", "MIT")
    assert method.given_poses == "needed"
    assert float(method.predict(task).render(1)[0].mean()) == 0.25
    module.draw = lambda context, targets, size: torch.zeros(2, 3)
    with pytest.raises(InputError, match=r"expected images \[1, 2, 3, 36, 64\], got \[2, 3\]"):
        Function("somebodys:draw").predict(task)
    with pytest.raises(InputError, match="needs given context poses"):
        ViewSynthesis(poses="umeyama").require_for(method)


def test_an_edited_function_is_another_method(module, tmp_path):
    module.splat = lambda context: None
    before = Function("somebodys:splat").about.identity
    (tmp_path / "somebodys.py").write_text("version = 2\n")
    assert Function("somebodys:splat").about.identity != before


def test_a_function_may_lie_where_the_command_runs(tmp_path, monkeypatch):
    (tmp_path / "beside_me.py").write_text("def splat(context): ...")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(tmp_path)
    assert Function("beside_me:splat").about.name == "beside_me:splat"


def test_functions_that_are_none(module):
    module.two = lambda a, b: None
    for path, message in (
        ("somebodys:two", "one of 2 arguments"),
        ("somebodys:absent", "has no absent"),
        ("nobodys_module:f", "cannot import nobodys_module"),
    ):
        with pytest.raises(InputError, match=message):
            Function(path)


def test_folder_of_renders(task, tmp_path):
    picture = np.full((36, 64, 3), 51, np.uint8)
    (tmp_path / "out/room").mkdir(parents=True)
    write_image(tmp_path / "out/room/0.png", picture)
    with pytest.raises(
        InputError, match=r"expected 2 renderings named as the split says, 1 are missing \(1\.png"
    ):
        Renders(tmp_path / "out", weights="w", licence="l").predict(task)
    write_image(tmp_path / "out/room/1.png", picture[:-1])
    method = Renders(tmp_path / "out", weights="w", licence="l")
    torch.testing.assert_close(method.predict(task).render(0)[0], torch.full((3, 36, 64), 0.2))
    with pytest.raises(InputError, match=r"1\.png: expected size \(H, W\) \(36, 64\), got \(35, 64\)"):
        method.predict(task).render(1)
    write_image(tmp_path / "out/room/1.png", picture)
    assert Renders(tmp_path / "out", weights="w", licence="l").about.identity != method.about.identity
    with pytest.raises(InputError, match=r"expected renders\.folder=DIR"):
        Renders(tmp_path / "absent", weights="w", licence="l")


@pytest.mark.extended
def test_the_pipelines_background_is_drawn_where_no_gaussian_is(task, unchecked):
    prediction = optimised(GaussianOptions(), torch.device("cpu")).predict(task)
    torch.testing.assert_close(prediction.background, task.context.images.mean(dim=(0, 1, 3, 4)))
    nothing = replace(prediction, gaussians=prediction.gaussians[:, :0])
    picture, depth, _ = picture_of(nothing, task, 0, None, ViewSynthesis())
    torch.testing.assert_close(picture, prediction.background[:, None, None].expand_as(picture))
    assert not depth.any()

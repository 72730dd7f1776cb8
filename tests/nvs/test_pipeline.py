"""The one way from views to Gaussians: what render, API, fine-tuning and the benchmark share."""

from dataclasses import replace

import pytest
import torch

from geometry.errors import InputError
from geometry.views import Views
from geometry.weights.checkpoint import find_checkpoint
from geometry.worlds import ProceduralDataset
from nvs import pipeline as pipeline_module
from nvs import seeds
from nvs.gaussians import SH_C0
from nvs.metrics import psnr
from nvs.model.splatter import load_splatter, photo_colours
from nvs.options import GaussianOptions
from nvs.pipeline import Pipeline, choose_depth

SIZE = (70, 98)
DRAFT, GOOD = GaussianOptions(quality="draft"), GaussianOptions()


@pytest.fixture(scope="module")
def capture():
    """Five posed context views of a room, and a view between them."""
    world = ProceduralDataset(5, photometry=0.0, texture_size=64, kinds=["room"])
    sample = world.sample(0, n_views=6, image_size=SIZE, path="slide")
    images, cameras = sample.views.images, sample.truth.cameras
    rest = [0, 1, 2, 4, 5]
    return Views(images=images[:, rest], cameras=cameras[:, rest]), cameras[:, 3:4], images[:, 3:4]


@pytest.fixture(scope="module")
def bundled():
    return load_splatter(find_checkpoint("tiny"))


@pytest.mark.extended
@pytest.mark.parametrize("network", [False, True])
def test_a_view_between_the_photos_is_better_than_their_mean_colour(network, capture, bundled):
    context, target, truth = capture
    scene = Pipeline(splatter=bundled if network else photo_colours(), options=DRAFT)(context)
    assert (scene.depth_kind, scene.refined) == ("stereo", None)
    assert 0.15 < scene.trusted < 1  # the room's pale walls were sky, and trusted, once
    view = scene.render(target, SIZE).rgb
    flat = context.images.mean(dim=(0, 1, 3, 4))[:, None, None].expand_as(truth)
    assert psnr(view[0], truth[0]).mean() > psnr(flat[0], truth[0]).mean() + 3


def test_refinement_is_part_of_it(capture, bundled):
    context, target, truth = capture
    said = []
    options = GaussianOptions(refine=40, spacing=2.0)
    pipeline = Pipeline(splatter=bundled, options=options, report=said.append)
    before = pipeline.splat(context)
    after = pipeline(context)
    assert after.refined.steps > 0
    assert set(pipeline.watch.seconds) == {"sweep", "network", "refine"}
    scores = [psnr(s.render(target, SIZE).rgb[0].clamp(0, 1), truth[0]).mean() for s in (before, after)]
    assert scores[1] > scores[0] + 0.5
    assert any("trusted" in line for line in said)
    assert any(line.startswith("refined: ") for line in said)


@pytest.mark.extended
def test_what_moved_is_found_first_and_no_gaussian_is_made_of_it(capture):
    context, _, _ = capture
    images, figure = context.images.clone(), torch.zeros(1, 5, *SIZE, dtype=torch.bool)
    figure[:, 2, 20:50, 40:60] = True
    images[0, 2, :, 20:50, 40:60] = torch.tensor((1.0, 0.0, 1.0))[:, None, None]
    crowded, said = replace(context, images=images), []
    made = {}
    for moving in (False, True):
        pipeline = Pipeline(
            splatter=photo_colours(), options=GaussianOptions(refine=60, moving=moving), report=said.append
        )
        made[moving] = pipeline(crowded)
    left_out = made[True]
    assert left_out.refined.steps == 60
    assert 0.5 * float(figure.float().mean()) < left_out.refined.moved < 0.2
    assert left_out.views.mask[figure].float().mean() < 0.15
    magenta = [
        ((s.gaussians.sh[0, :, 0] * SH_C0 + 0.5 - torch.tensor((1.0, 0.0, 1.0))).abs().amax(-1) < 0.25).sum()
        for s in made.values()
    ]
    assert magenta[1] < 0.2 * magenta[0]  # refinement alone leaves few of them
    assert sum("made anew" in line for line in said) == 1
    assert sum(line.startswith("refined: ") for line in said) == 3


@pytest.mark.extended
def test_the_network_takes_posed_photos_in_groups(capture, bundled):
    """What one pass makes, and what groups make, lie in one world and in the photos' order."""
    context, _, _ = capture
    options = GaussianOptions(quality="draft", prune=False, spacing=7.0)
    whole, groups = (Pipeline(splatter=bundled, options=options, at_a_time=n)(context) for n in (16, 2))
    assert groups.gaussians.means.shape == whole.gaussians.means.shape
    torch.testing.assert_close(groups.depth, whole.depth)
    # Depth is the sweep's; the head may move a Gaussian by some pixels.
    far = (groups.gaussians.means - whole.gaussians.means).norm(dim=-1)
    assert far.median() < 0.05 * whole.depth.median()


def test_a_budget_is_met_in_the_middle_of_refinement(capture):
    options, said = GaussianOptions(refine=2, compression=2), []
    pipeline = Pipeline(splatter=photo_colours(), options=options, report=said.append)
    start = pipeline.splat(capture[0])
    done = pipeline.refine(start)
    assert 0 < done.gaussians.means.shape[1] <= start.gaussians.means.shape[1] / 2 + 1
    assert any(line.startswith("refine: step 1 of 2") and "became" in line for line in said)


@pytest.mark.extended
def test_refinement_starts_from_a_sample_of_small_gaussians(capture):
    context, _, _ = capture
    draft, good = (Pipeline(splatter=photo_colours(), options=o).splat(context) for o in (DRAFT, GOOD))
    fine, few = draft.gaussians, good.gaussians
    assert few.means.shape[1] == round(fine.means.shape[1] / 4)
    assert set(few.means[0, :, 0].tolist()) < set(fine.means[0, :, 0].tolist())
    again = Pipeline(splatter=photo_colours(), options=GOOD).splat(context).gaussians
    assert torch.equal(again.means, few.means)
    spread = Pipeline(splatter=photo_colours(), options=replace(GOOD, spacing=4.0)).splat(context)
    assert spread.gaussians.scales.median() > 1.5 * few.scales.median()


@pytest.mark.extended
def test_photos_beyond_the_seeds_refine_and_get_the_gaussians_depth(capture, monkeypatch):
    """Their depth is drawn, like the world's own."""
    monkeypatch.setattr(seeds, "SEEDS", 3)
    context, _, _ = capture
    lines = []
    pipeline = Pipeline(splatter=photo_colours(), options=GaussianOptions(refine=60), report=lines.append)
    scene = pipeline(context)
    V, chosen = context.images.shape[1], list(scene.seeds)
    others = sorted({*range(V)} - {*chosen})
    assert len(chosen) == 3
    assert others
    assert f"3 of {V} photos; all refine them" in "\n".join(lines)
    assert scene.seed_depth.shape[1] == 3
    assert scene.depth.shape[:2] == (1, V)
    torch.testing.assert_close(scene.depth[:, chosen], scene.seed_depth)
    whole = Pipeline(splatter=photo_colours(), options=GaussianOptions(quality="draft", spacing=4.0))(context)
    drawn = scene.depth[:, others]
    error = (drawn / whole.depth[:, others] - 1).abs()[drawn > 0]
    assert (drawn > 0).float().mean() > 0.9
    assert error.median() < 0.2
    torch.testing.assert_close(scene.cameras.extrinsics, context.cameras.extrinsics)


def test_a_draft_of_more_photos_than_fit_is_of_a_part_of_them(capture, monkeypatch):
    monkeypatch.setattr(seeds, "SEEDS", 2)
    monkeypatch.setattr(seeds, "MOST_GAUSSIANS", 3 * SIZE[0] * SIZE[1] // 4)  # of three photos
    lines = []
    scene = Pipeline(splatter=photo_colours(), options=DRAFT, report=lines.append)(capture[0])
    assert len(scene.seeds) == 3
    assert lines[-1].endswith("Gaussians from 3 of 5 photos")
    assert (scene.depth > 0).float().mean(dim=(0, 2, 3)).min() > 0.8  # also where others are drawn


def test_all_photos_are_asked_about_the_gaussians_of_the_seeds(capture, monkeypatch):
    monkeypatch.setattr(pipeline_module, "ENOUGH", 5)
    monkeypatch.setattr(seeds, "SEEDS", 3)
    asked = []

    def recorded(gaussians, views, *, photos, keep_hidden, backend):
        asked.append((views.images.shape[1], photos, keep_hidden))
        return gaussians

    monkeypatch.setattr(pipeline_module, "thinned_out", recorded)
    for steps in (1, 0):  # hidden ones are sampled before refinement, and left out of a draft
        Pipeline(splatter=photo_colours(), options=GaussianOptions(refine=steps)).splat(capture[0])
    assert asked == [(5, 3, True), (5, 5, False)]


def test_minutes_limit_the_seeds_after_a_trial(capture, monkeypatch):
    monkeypatch.setattr(pipeline_module, "FEWEST", 2)
    monkeypatch.setattr(
        pipeline_module, "affordable", lambda views, minutes, spent, splat: splat(views[:, :2]) and 2
    )
    monkeypatch.setattr(seeds, "FEWEST", 2)
    pipeline = Pipeline(splatter=photo_colours(), options=GaussianOptions(minutes=1.0))
    assert len(pipeline.splat(capture[0]).seeds) == 2
    assert "trial" in pipeline.watch.seconds


def test_auto_sweeps_where_it_can_and_should(capture):
    views = capture[0]
    unposed = Views(images=views.images)
    assert choose_depth("auto", views, knows_depth=False) == "stereo"
    assert choose_depth("stereo", views, knows_depth=True) == "stereo"
    assert choose_depth("auto", views, knows_depth=True) == "network"
    assert choose_depth("auto", unposed, knows_depth=False) == "network"
    assert choose_depth("network", views, knows_depth=False) == "network"
    assert choose_depth("sweep", views, knows_depth=True) == "sweep"
    with pytest.raises(InputError, match="poses"):
        choose_depth("sweep", unposed, knows_depth=True)
    turned = replace(views.cameras, extrinsics=views.cameras.extrinsics.clone())
    turned.extrinsics[..., :3, 3] = 0
    one_place = replace(views, cameras=turned)  # the views of a panorama
    assert choose_depth("auto", one_place, knows_depth=False) == "network"
    with pytest.raises(InputError, match="different places"):
        choose_depth("sweep", one_place, knows_depth=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"depth": "deep"}, "depth"), ({"spacing": 0.5}, "spacing"), ({"refine": -1}, "refine")],
)
def test_bad_options_are_named(options, message, unchecked):
    with pytest.raises(InputError, match=message):
        GaussianOptions(**options)

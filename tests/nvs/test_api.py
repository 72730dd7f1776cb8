"""The face of the package: what a notebook user types."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import nvs
from geometry.errors import InputError
from geometry.ops import se3
from geometry.scenes import transforms_json
from geometry.weights.checkpoint import find_checkpoint
from geometry.worlds import ProceduralDataset
from nvs.gaussians import Gaussians

SMALL = {"process_res": 98}
DRAFT = {"quality": "draft", **SMALL}


@pytest.fixture(scope="module")
def photos():
    """Four photos in memory and their cameras."""
    sample = ProceduralDataset(5, photometry=0.0, texture_size=64, kinds=["room"]).sample(
        0, n_views=4, image_size=(70, 98), path="slide"
    )
    images = (sample.views.images[0].movedim(1, -1) * 255).round().byte().numpy()
    return list(images), sample.truth.cameras


@pytest.fixture(scope="module")
def model():
    return nvs.load("tiny")


@pytest.fixture(scope="module")
def scene(model, photos):
    return model.predict(photos[0], photos[1], **DRAFT)


def test_a_model_says_what_it_is(model):
    assert (model.variant, model.trained, model.licence, model.has_head) == ("tiny", True, "Apache-2.0", True)
    assert "tiny" in model.description
    assert nvs.__version__


def test_photos_in_memory_become_a_scene_in_the_given_world(scene, photos):
    assert scene.depth_kind == "stereo"
    torch.testing.assert_close(scene.cameras.extrinsics, photos[1].extrinsics, rtol=1e-4, atol=1e-5)
    view = scene.render(scene.cameras[:, 1:2])
    error = (view.rgb[0, 0] - scene.views.images[0, 1]).abs().mean()
    assert error < 0.15
    points, colours = scene.points()
    assert len(points) == len(colours) > 100


def test_saved_gaussians_are_read_back(scene, tmp_path):
    scene.save(tmp_path / "scene.ply")
    torch.testing.assert_close(Gaussians.load(tmp_path / "scene.ply").means, scene.gaussians.means)


def test_predict_refines(model, photos):
    scene = model.predict(photos[0], photos[1], refine=4, **SMALL)
    assert scene.refined.steps == 4


def test_without_cameras_the_network_places_the_photos(model, photos):
    scene = model.predict(photos[0], False, **DRAFT)
    assert scene.depth_kind == "network"
    assert se3.centres(scene.cameras.extrinsics[0]).std() > 0


def test_unknown_options_are_named(model, photos):
    with pytest.raises(TypeError, match="refines"):
        model.predict(photos[0], photos[1], refines=3)
    with pytest.raises(InputError, match="no such"):
        nvs.load("nowhere.safetensors")


def test_render_leaves_what_the_command_leaves(photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    from geometry.visualize import write_image

    names = [f"{i}.png" for i in range(4)]
    for name, image in zip(names, photos[0]):
        write_image(folder / name, image)
    E, K = (t[0].double().numpy() for t in (photos[1].extrinsics, photos[1].intrinsics))
    transforms_json.write_scene(folder / "transforms.json", names, E, K, [(70, 98)] * 4)
    rendered = nvs.render(
        folder, tmp_path / "out", holdout=4, frames=3, size=(35, 49), quality="draft", **SMALL
    )
    assert capsys.readouterr().err == ""  # the library is quiet
    assert rendered.metrics["psnr"] > 10
    assert {"gaussians.ply", "video.mp4", "metrics.json"} <= {p.name for p in rendered.folder.iterdir()}
    assert np.isfinite(rendered.scene.gaussians.means.numpy()).all()


def test_importing_it_is_quick_and_loads_no_torch():
    code = "import sys, nvs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_bundled_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("geometry.weights.checkpoint.BUNDLED", tmp_path)
    with pytest.raises(InputError, match="tiny"):
        find_checkpoint("tiny")

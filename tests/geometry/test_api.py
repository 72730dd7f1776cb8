"""The front door: what a person at a notebook types."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import geometry
from geometry.capture import Capture, open_capture
from geometry.formats.ply import read_elements
from geometry.scenes import transforms_json

ROOT = Path(__file__).resolve().parents[2]
SIZE = {"process_res": 56}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of three photos with a transforms.json."""
    folder = tmp_path_factory.mktemp("capture")
    rng = np.random.default_rng(0)
    names, poses = [f"p{i}.png" for i in range(3)], np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = np.arange(3.0)
    for name in names:
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / name)
    K = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    transforms_json.write_scene(
        folder / "transforms.json", names, poses, np.tile(K, (3, 1, 1)), [(48, 64)] * 3
    )
    return folder


@pytest.fixture(scope="module")
def model():
    return geometry.load("untrained:tiny")


@pytest.fixture(scope="module")
def arrays(photos):
    return [np.asarray(Image.open(path)) for path in sorted(photos.glob("*.png"))]


@pytest.fixture(scope="module")
def unposed(model, arrays):
    return model.predict(arrays, cameras=False, **SIZE)


def given(photos):
    scene = geometry.open_photos(photos, check=False)
    return geometry.Cameras(
        extrinsics=torch.tensor(scene.extrinsics)[None], intrinsics=torch.tensor(scene.intrinsics)[None]
    )


def test_the_package_is_quick_to_import_and_knows_its_names():
    code = (
        "import sys, geometry; assert 'torch' not in sys.modules; print(geometry.__version__, *dir(geometry))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, *names = done.stdout.split()
    assert version == geometry.__version__
    assert set(geometry.__all__) <= set(names)
    for name in geometry.__all__:
        assert getattr(geometry, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = geometry.nothing


def test_a_type_checker_sees_the_names_that_are_there():
    """The imports under TYPE_CHECKING are those that `__getattr__` makes."""
    text = (ROOT / "geometry" / "__init__.py").read_text()
    shown = {
        (name.split()[0], line.split()[1])
        for line in text.splitlines()
        if line.startswith("    from geometry")
        for name in line.partition(" import ")[2].split(",")
    }
    assert shown == set(geometry._HOMES.items())
    assert set(geometry.__all__) == {*geometry._HOMES, "__version__"}


def test_a_model_says_what_it_is(model):
    assert (model.variant, model.trained, model.has_head) == ("tiny", False, False)
    assert model.licence == "Apache-2.0"
    assert "UNTRAINED" in model.description
    assert isinstance(model.network, geometry.DepthAnything3)
    bundled = geometry.load()
    assert (bundled.variant, bundled.trained, bundled.has_head) == ("tiny", True, True)


def test_a_folder_has_the_cameras_beside_it(model, photos):
    scene = model.predict(photos, pose_check=False, **SIZE)
    assert scene.names == ("p0.png", "p1.png", "p2.png")
    assert scene.depth.shape == scene.confidence.shape == (3, 42, 56)
    assert scene.images.shape == (3, 3, 42, 56)
    assert scene.sky is None
    assert not scene.metric
    assert_close(scene.cameras.extrinsics, given(photos).extrinsics.float())
    assert scene.geometry.depth.shape == (1, 3, 42, 56)
    assert scene.about["world"] == "the given poses' world"


@pytest.mark.parametrize(
    "form", ["paths", "names", "stack", "floats", "tensors", "bytes", "tensor stack", "pillow"]
)
def test_photos_come_in_many_forms(form, model, photos, arrays, unposed):
    tensors = [torch.tensor(a).movedim(-1, 0) / 255 for a in arrays]
    paths = sorted(photos.glob("*.png"))
    images = {
        "paths": paths,
        "names": [str(p) for p in paths],
        "stack": np.stack(arrays),
        "floats": [a / 255 for a in arrays],
        "tensors": tensors,
        "bytes": [torch.tensor(a).movedim(-1, 0) for a in arrays],
        "tensor stack": torch.stack(tensors),
        "pillow": [Image.fromarray(a) for a in arrays],
    }
    scene = model.predict(images[form], cameras=False, **SIZE)
    assert torch.equal(scene.depth, unposed.depth)


def test_one_image_alone(model, arrays):
    for image in (arrays[0], Image.fromarray(arrays[0]), torch.tensor(arrays[0]).movedim(-1, 0) / 255):
        assert model.predict(image, **SIZE).depth.shape == (1, 42, 56)


def test_pillow_images_are_turned_upright(model, arrays, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    for name in ("a.jpg", "a.tif", "a.png"):
        Image.fromarray(arrays[0]).save(tmp_path / name, exif=exif)
        (frame,) = geometry.open_photos(Image.open(tmp_path / name)).frames
        (of_file,) = geometry.open_photos(tmp_path / name).frames
        assert frame.image_size == (64, 48)
        np.testing.assert_array_equal(frame.load(), of_file.load())


def test_photos_stay_in_the_order_given(model, photos, arrays):
    paths = [photos / name for name in ("p2.png", "p0.png", "p1.png")]
    scene = model.predict(paths, pose_check=False, **SIZE)
    assert scene.names == ("p2.png", "p0.png", "p1.png")
    assert scene.cameras.extrinsics[0, :, 0, 3].tolist() == [2, 0, 1]
    other = model.predict(paths, given(photos)[:, [2, 0, 1]], pose_check=False, **SIZE)
    assert_close(other.depth, scene.depth)


@pytest.mark.parametrize("source", ["record", "file", "folder"])
def test_cameras_come_in_many_forms(source, model, photos, arrays):
    beside = model.predict(photos, pose_check=False, **SIZE)
    images = arrays if source == "record" else sorted(photos.glob("*.png"))
    cameras = {"record": given(photos), "file": photos / "transforms.json", "folder": str(photos)}[source]
    scene = model.predict(images, cameras, pose_check=False, **SIZE)
    assert_close(scene.depth, beside.depth)
    assert_close(scene.cameras.intrinsics, beside.cameras.intrinsics)


def test_cameras_of_the_network(model, photos, unposed):
    for cameras in (False, "network"):
        scene = model.predict(photos, cameras, **SIZE)
        assert torch.equal(scene.depth, unposed.depth)
    assert torch.equal(model.predict(photos, unposed=True, **SIZE).depth, unposed.depth)


def test_options_are_records_or_keywords(model, photos):
    options = geometry.PhotoOptions(process_res=56, context=2, pose_check=False)
    scene = model.predict(photos, options=options)
    assert scene.depth.shape == (2, 42, 56)
    smaller = model.predict(photos, options=options, process_res=28, chunk=1)
    assert smaller.depth.shape == (2, 28, 28)
    with pytest.raises(TypeError, match=r"unknown option 'size'; known are poses, .*process_res.*precision"):
        model.predict(photos, size=3)
    with pytest.raises(
        TypeError, match="unknown option 'refine'; known are reference, device, precision, chunk"
    ):
        geometry.load("tiny", refine=3)
    with pytest.raises(FrozenInstanceError):
        options.context = 3


def test_an_opened_capture_or_scene_is_taken_too(model, photos, unposed):
    scene = geometry.open_photos(photos, unposed=True)
    assert torch.equal(model.predict(scene, cameras=False, **SIZE).depth, unposed.depth)
    options = geometry.PhotoOptions(process_res=56, cameras="network")
    capture = open_capture(photos, options, torch.device("cpu"))
    assert isinstance(capture, Capture)
    assert torch.equal(model.predict(capture, options=options).depth, unposed.depth)


def test_leaving_photos_out_is_a_warning(model, arrays):
    with pytest.warns(UserWarning, match="takes 16 of 18 photos; max_views=N takes more"):
        scene = model.predict(arrays * 6, cameras=False, process_res=28)
    assert len(scene.names) == 16


def test_calls_are_silent_unless_told(model, photos, tmp_path, capfd):
    scene = model.predict(photos, pose_check=False, **SIZE)
    scene.save(tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    model.predict(photos, pose_check=False, verbose=True, **SIZE)
    assert "3 photos; poses: " in capfd.readouterr().err


def test_results_are_written_as_the_command_does(model, photos, tmp_path):
    scene = model.predict(photos, pose_check=False, **SIZE)
    scene.save(tmp_path / "out")
    again = geometry.open_photos(tmp_path / "out", check=False)
    np.testing.assert_allclose(again.extrinsics, scene.cameras.extrinsics[0], atol=1e-6)
    assert json.loads((tmp_path / "out" / "scene.json").read_text())["model"] == "tiny"
    cloud = scene.points(conf_percentile=0.0)
    assert len(cloud.points) > 100
    scene.save(tmp_path / "a.ply", conf_percentile=0.0)
    vertices = read_elements(tmp_path / "a.ply")[0]["vertex"]
    np.testing.assert_array_equal(np.stack([vertices[name] for name in "xyz"], axis=-1), cloud.points)
    scene.save(str(tmp_path / "a.glb"))
    assert (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    with pytest.raises(geometry.InputError, match="expected a folder of its own"):
        scene.save(photos)


def test_what_a_notebook_shows_is_a_line(model, unposed):
    assert repr(unposed) == "Prediction(3 photos at 42 x 56, poses: unposed, metric: False)"
    assert repr(model) == "Model('tiny', UNTRAINED random weights, Apache-2.0, on cpu)"


def test_results_take_part_in_gradients(unposed):
    weight = torch.ones(1, requires_grad=True)
    (weight * unposed.depth).sum().backward()
    assert weight.grad.isfinite()


BAD = {
    "no file": (lambda p, a: {"photos": p / "absent"}, "found no such file"),
    "bytes as floats": (
        lambda p, a: {"photos": [a[0], a[1] * 1.0]},
        r"photos\[1\]: .* in 0\.\.1, got 0\.\.25",
    ),
    "integers": (lambda p, a: {"photos": [a[0].astype(int)]}, "uint8 or floating-point"),
    "grey": (lambda p, a: {"photos": [a[0][..., 0]]}, r"\[H, W, 3 or 4\], got \[48, 64\]"),
    "channels last": (
        lambda p, a: {"photos": [torch.tensor(a[0])]},
        r"tensor \[3 or 4, H, W\], got \[48, 64, 3\]",
    ),
    "a mixture": (lambda p, a: {"photos": [p / "p0.png", a[0]]}, r"photos\[0\]: expected .* got PosixPath"),
    "nothing": (lambda p, a: {"photos": []}, "got nothing"),
    "two cameras": (lambda p, a: {"photos": a, "cameras": given(p)[:, :2]}, r"\[1, 3, \.\.\.\], got"),
    "poses of arrays": (lambda p, a: {"photos": a, "cameras": p}, "got images in memory"),
    "true": (lambda p, a: {"photos": a, "cameras": True}, "got True"),
    "both": (lambda p, a: {"photos": p, "cameras": given(p), "unposed": True}, "got both"),
    "none given": (lambda p, a: {"photos": a, "cameras": "given"}, "found neither"),
    "a wrong reference": (
        lambda p, a: {"photos": a, "reference": "best"},
        "reference: expected one of saddle",
    ),
    "no view at a time": (lambda p, a: {"photos": a, "chunk": 0}, "chunk: expected 1 or more, got 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_line(name, model, photos, arrays, unchecked):
    make, message = BAD[name]
    with pytest.raises(geometry.InputError, match=message) as caught:
        model.predict(**make(photos, arrays), **SIZE)
    assert "\n" not in str(caught.value)

"""`geometry infer` from photos to depth, cameras and points."""

import json

import numpy as np
import pytest
import scenes
import torch

from geometry.commands.infer import main
from geometry.formats.ply import read_elements
from geometry.models.zoo import VARIANTS, Variant, build
from geometry.scenes import transforms_json
from geometry.scenes.colmap import read_colmap
from geometry.verdict import UNTRUSTED
from geometry.weights.checkpoint import save_checkpoint


def write_photos(folder, count=3):
    scenes.write_photos(folder, count, (48, 64), "p{}.jpg")
    return folder


def infer(*arguments):
    return main([str(a) for a in (*arguments, "--process-res", "56")])


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("infer")
    # tiny is too small to know depth and cameras, and the status says so
    assert infer(write_photos(folder / "photos"), "--out", folder / "out") == UNTRUSTED
    return folder / "out"


def test_every_file_is_there(scene):
    assert {p.name for p in scene.iterdir()} == {
        "depth", "confidence", "images", "transforms.json", "sparse", "points.ply", "points.glb",
        "scene.json", ".written.json",
    }  # fmt: skip
    assert {p.name for p in (scene / "depth").iterdir()} == {
        f"p{i}.{e}" for i in range(3) for e in ("npz", "png")
    }


def test_a_guess_is_called_one(tmp_path, capsys):
    photos = write_photos(tmp_path / "photos")
    assert infer(photos, "--out", tmp_path / "out", "--cameras", "network") == UNTRUSTED
    said = capsys.readouterr().err
    assert "DO NOT TRUST THIS DEPTH AND CAMERAS" in said
    assert "a guess of 'tiny'" in said
    about = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert about["trustworthy"] is False
    assert "--model small" in about["problems"][0]


def test_all_files_tell_one_story(scene):
    """COLMAP model, transforms.json and the npz hold the same cameras; points are unprojected depth."""
    given = transforms_json.read_scene(scene / "transforms.json")
    model = read_colmap(scene / "sparse" / "0", scene / "images")
    np.testing.assert_allclose(model.extrinsics, given.extrinsics, atol=1e-6)
    np.testing.assert_allclose(model.intrinsics, given.intrinsics, atol=1e-4)
    vertices = read_elements(scene / "points.ply")[0]["vertex"]
    points = np.stack([vertices[name] for name in "xyz"], axis=-1)
    assert len(points) > 100
    found = 0
    for frame in given.frames:
        arrays = np.load(scene / "depth" / f"{frame.name.split('/')[-1].removesuffix('.png')}.npz")
        np.testing.assert_allclose(arrays["extrinsics"], frame.extrinsics, atol=1e-5)
        local = points @ frame.extrinsics[:3, :3].T + frame.extrinsics[:3, 3]
        pixel = (local @ frame.intrinsics.T)[:, :2] / local[:, 2:]
        H, W = arrays["depth"].shape
        x, y = np.floor(pixel[:, 0]).astype(int), np.floor(pixel[:, 1]).astype(int)
        inside = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (local[:, 2] > 0)
        stored = arrays["depth"][y[inside], x[inside]]
        found += (np.abs(stored / local[inside, 2] - 1) < 1e-3).sum()
    assert found >= 0.99 * len(points)  # every point is some view's pixel


def test_ray_pose_and_reference_are_options(scene, tmp_path):
    photos = write_photos(tmp_path / "photos")
    assert infer(photos, "--out", tmp_path / "rays", "--ray-pose", "--ref-view", "first") == UNTRUSTED
    rays = transforms_json.read_scene(tmp_path / "rays" / "transforms.json")
    decoder = transforms_json.read_scene(scene / "transforms.json")
    assert np.abs(rays.extrinsics - decoder.extrinsics).max() > 1e-3


def test_monocular_models_write_depth_and_say_why_no_cameras(tmp_path, monkeypatch, capsys):
    small = Variant(
        kind="monocular",
        width=64,
        depth=4,
        heads=1,
        output_blocks=(0, 1, 2, 3),
        features=32,
        channels=(8,) * 4,
    )
    monkeypatch.setitem(VARIANTS, "test-mono", small)
    torch.manual_seed(0)
    path = tmp_path / "mono.safetensors"
    save_checkpoint(path, build("test-mono"), variant="test-mono", released=False, licence="Apache-2.0")
    photos = write_photos(tmp_path / "photos")
    assert infer(photos, "--out", tmp_path / "out", "--model", path) == 0
    assert "places none" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "depth", "images", "scene.json", ".written.json",
    }  # fmt: skip
    assert "sky" in np.load(tmp_path / "out" / "depth" / "p0.npz")
    assert json.loads((tmp_path / "out" / "scene.json").read_text())["model"] == "test-mono"


def test_the_capture_is_no_place_for_results(tmp_path, capsys):
    photos = write_photos(tmp_path / "photos")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for out in (photos, tmp_path):
        assert infer(photos, "--out", out) == 2
        assert "expected a folder of its own" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before

"""`all_photos`: what lies on disk, what a run that was stopped leaves, what becomes of given cameras."""

import json

import numpy as np
import pytest
import torch
from scenes import make_arc, write_capture, write_room

import geometry
from geometry.api import Model
from geometry.chunks.passes import Passes
from geometry.console import listening
from geometry.errors import InputError
from geometry.ops import se3
from geometry.stored import on_disk

SMALL = {"all_photos": True, "max_views": 4, "process_res": 56}


@pytest.fixture(scope="module")
def tiny():
    return geometry.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def arc():
    return make_arc(10)


@pytest.mark.extended
def test_all_photos_go_through_the_network_and_none_twice(tiny, arc, tmp_path, monkeypatch):
    write_room(tmp_path / "photos", arc)
    computed = []
    predict = Passes._predict
    monkeypatch.setattr(Passes, "_predict", lambda self, views: computed.append(1) or predict(self, views))
    arguments = {"cameras": False, "work": tmp_path / "work", **SMALL}
    scene = tiny.predict(tmp_path / "photos", **arguments)
    assert len(scene.names) == scene.depth.shape[0] == 10
    passes = len(computed)
    assert passes >= 4  # (10 - 2) / 2 chunks
    assert len(list((tmp_path / "work").glob("*.npz"))) == passes
    again = tiny.predict(tmp_path / "photos", **arguments)
    assert len(computed) == passes
    assert torch.equal(again.depth, scene.depth)
    assert torch.equal(again.cameras.extrinsics, scene.cameras.extrinsics)
    torch.testing.assert_close(scene.cameras.extrinsics[0, 0], torch.eye(4), atol=1e-5, rtol=0)

    write_room(tmp_path / "more", [*arc, *make_arc(4, seed=3)])  # what was done of the first photos counts
    tiny.predict(tmp_path / "more", **arguments)
    assert passes < len(computed) < 2 * passes + 2


@pytest.mark.extended
def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(tiny, arc, tmp_path, monkeypatch):
    write_room(tmp_path / "photos", arc)
    whole = tiny.predict(tmp_path / "photos", cameras=False, work=tmp_path / "a", **SMALL)
    predict, left = Passes._predict, [2]

    def stopped(self, views):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return predict(self, views)

    monkeypatch.setattr(Passes, "_predict", stopped)
    with pytest.raises(KeyboardInterrupt):
        tiny.predict(tmp_path / "photos", cameras=False, work=tmp_path / "b", **SMALL)
    assert len(list((tmp_path / "b").glob("*"))) == 2
    left[0] = 100
    later = tiny.predict(tmp_path / "photos", cameras=False, work=tmp_path / "b", **SMALL)
    assert torch.equal(later.depth, whole.depth)
    assert torch.equal(later.cameras.extrinsics, whole.cameras.extrinsics)


def test_cameras_that_are_known_stay(tiny, arc, tmp_path):
    write_capture(tmp_path / "capture", arc)
    scene = tiny.predict(tmp_path / "capture", **SMALL)
    expected = torch.from_numpy(np.stack([view.extrinsics for view in arc])).float()
    torch.testing.assert_close(scene.cameras.extrinsics[0], expected, atol=1e-5, rtol=1e-5)
    assert scene.about["world"] == "the given poses' world"
    assert bool((scene.depth > 0).all())


def test_some_known_cameras_give_the_world(tiny, arc, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "knows_cameras", True)
    write_capture(tmp_path / "capture", arc)
    path = tmp_path / "capture/transforms.json"
    content = json.loads(path.read_text())
    content["frames"] = content["frames"][:6]  # the last photos: the file lists them backwards
    path.write_text(json.dumps(content))
    scene = tiny.predict(tmp_path / "capture", **SMALL)
    expected = torch.from_numpy(np.stack([view.extrinsics for view in arc[4:]])).float()
    torch.testing.assert_close(scene.cameras.extrinsics[0, 4:], expected, atol=1e-5, rtol=1e-5)
    assert scene.cameras.extrinsics.shape[1] == 10
    assert se3.centres(scene.cameras.extrinsics[0]).isfinite().all()


def test_the_folder_opens_in_other_programs(tiny, arc, tmp_path):
    pycolmap, trimesh = pytest.importorskip("pycolmap"), pytest.importorskip("trimesh")
    write_room(tmp_path / "photos", arc)
    tiny.predict(tmp_path / "photos", cameras=False, **SMALL).save(tmp_path / "out")
    model = pycolmap.Reconstruction(tmp_path / "out/sparse/0")
    assert model.num_reg_images() == 10
    assert model.num_points3D() > 1000
    assert len(trimesh.load(tmp_path / "out/points.ply").vertices) == model.num_points3D()


def test_more_than_the_network_takes_says_how_to_take_all(tiny, arc, tmp_path):
    write_room(tmp_path / "photos", arc)
    said = []
    with listening(said.append):
        tiny.predict(tmp_path / "photos", cameras=False, max_views=4, process_res=28)
    assert any("--all all of them in chunks" in line for line in said)
    with pytest.raises(InputError):
        tiny.predict(tmp_path / "none", **SMALL)


def test_a_disk_without_room_is_told_before_it_is_written_to(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"expected 0\.4 GB of free disk"):
        on_disk((100, 1000, 1000), tmp_path)
    monkeypatch.undo()
    tensor = on_disk((2, 3), tmp_path, torch.float16)
    tensor += 1
    assert tensor.sum() == 6
    assert not list(tmp_path.iterdir())

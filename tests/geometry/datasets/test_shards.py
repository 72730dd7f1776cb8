"""Packed scenes: the very samples of the unpacked set, tars in turn, and the same ones after a resume."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scenes import make_room, write_capture

from geometry.commands.pack_data import main as pack_main
from geometry.datasets.registry import open_source
from geometry.datasets.shards import MANIFEST, Shards
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.engine import FixedBatchSampler
from geometry.errors import InputError
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import Mixture, Part
from geometry.training.labels import TeacherLabels, label_path, write_label
from geometry.worlds.capture import write_world

pytest.importorskip("webdataset")


def samples_of(source, **options):
    return SamplingDataset(Mixture({"one": Part(source=source)}), image_size=(28, 42), views=3, **options)


def requests(steps, seed=0):
    sampler = FixedBatchSampler(batch_size=4)
    return [r for step in steps for r in sampler.requests(step, seed=seed, parts=1, length=None)]


@pytest.fixture
def worlds(tmp_path):
    """A set with depth and one with capital suffixes and sub-folders in names, side by side."""
    for i in range(2):
        write_world(tmp_path / "set", i, photos=4, image_size=(32, 48))
    return tmp_path / "set"


def pack(root, out, *options):
    assert pack_main([str(root), str(out), *options]) == 0


@pytest.mark.extended
def test_samples_are_those_of_the_unpacked_set(worlds, tmp_path):
    scene = TransformsFolders(worlds).read("000001")
    for frame in scene.frames:
        write_label(label_path(scene, frame, "teacher_depth"), np.full((32, 48), 7.0, np.float32))
    pack(worlds, tmp_path / "packed", "--labels", "teacher_depth")
    away = worlds.rename(tmp_path / "elsewhere")  # nothing may be read from there
    packed = open_source(tmp_path / "packed", cache=tmp_path / "cache")
    assert isinstance(packed, Shards)
    for labels in (None, TeacherLabels(from_step=0)):
        plain = samples_of(TransformsFolders(away), relabel=labels)
        ours = samples_of(packed, relabel=labels)
        for request in requests(range(2)):
            expected, found = plain[request], ours[request]
            assert torch.equal(found.views.images, expected.views.images)
            assert torch.equal(found.truth.depth, expected.truth.depth)
            assert torch.equal(found.truth.cameras.intrinsics, expected.truth.cameras.intrinsics)
    scene = packed.read("000001")
    assert (scene.frames[0].load_depth() != 7).any()
    assert (TeacherLabels(from_step=0)(scene, 0).frames[0].load_depth() == 7).all()


def test_names_of_any_form_come_back(tmp_path):
    room = make_room(3)
    write_capture(tmp_path / "set/a.b c", room)
    for path in sorted((tmp_path / "set/a.b c/images").iterdir()):
        path.rename(path.with_suffix(".PNG"))
    file = tmp_path / "set/a.b c/transforms.json"
    file.write_text(file.read_text().replace(".png", ".PNG"))
    scene = TransformsFolders(tmp_path / "set").read("a.b c")
    write_label(label_path(scene, scene.frames[0], "labels"), np.full((48, 64), 7.0, np.float32))
    pack(tmp_path / "set", tmp_path / "packed", "--labels", "labels")
    packed = Shards(tmp_path / "packed", cache=tmp_path / "cache").read("a.b c")
    for ours, theirs in zip(packed.frames, scene.frames):
        np.testing.assert_array_equal(ours.load(), theirs.load())
    assert label_path(packed, packed.frames[0], "labels").is_file()


@pytest.fixture
def many(tmp_path):
    """Ten scenes in ten tars."""
    for i in range(10):
        write_capture(tmp_path / f"set/{i}", make_room(3, seed=i))
    pack(tmp_path / "set", tmp_path / "packed", "--size", "0.0001")
    return tmp_path / "packed"


@pytest.mark.extended
def test_tars_are_used_in_turn_and_few_lie_on_the_disk(many, tmp_path):
    source = Shards(many, cache=tmp_path / "cache", pool=2, steps_of_shard=5)
    assert len(source._shards) == 10
    samples = samples_of(source)
    mixture = samples.mixture
    drawn = [mixture.draw(np.random.default_rng(r.seed), r)[1] for r in requests(range(200))]
    assert len(set(drawn)) == 10
    for start in range(0, 800, 20):  # of five steps
        assert len(set(drawn[start : start + 20])) <= 2
    counts = np.unique(drawn, return_counts=True)[1]
    assert counts.min() > 40
    for request in requests(range(0, 60, 3)):
        samples[request]
        there = [p for p in (tmp_path / "cache").glob("*/*") if p.is_dir()]
        assert len(there) <= 4


def test_a_resumed_run_goes_on_with_the_same_samples(many, tmp_path):
    first = samples_of(Shards(many, cache=tmp_path / "a", pool=2, steps_of_shard=5))
    unbroken = {r.number: first[r] for r in requests(range(0, 40, 4))}
    shutil.rmtree(tmp_path / "a")  # another machine
    resumed = samples_of(Shards(many, cache=tmp_path / "b", pool=2, steps_of_shard=5))
    for request in requests(range(24, 40, 4)):
        assert torch.equal(resumed[request].views.images, unbroken[request.number].views.images)
    draw = resumed.mixture.draw
    rng = np.random.default_rng
    orders = [[draw(rng(0), r) for r in requests(range(0, 100, 10), seed)] for seed in (0, 1)]
    assert orders[0] != orders[1]


def test_a_scene_whose_tar_went_is_fetched_again(many, tmp_path):
    samples = samples_of(Shards(many, cache=tmp_path / "cache", pool=10))
    (request,) = requests([0])[:1]
    expected = samples[request]
    for folder in (tmp_path / "cache").glob("*/*"):
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    assert torch.equal(samples[request].views.images, expected.views.images)


def test_workers_fetch_a_tar_once(many, tmp_path):
    """A pipe that counts how often it was asked: what an object store is read through."""
    url = f"pipe:echo {{}} >> {tmp_path}/asked; cat {many}/{{}}"
    source = Shards(url, cache=tmp_path / "cache")
    with ThreadPoolExecutor(3) as threads:  # each with a lock of its own, as processes have
        scenes = list(threads.map(source.read, ["4", "4", "4"]))
    assert len({scene.frames[0].image for scene in scenes}) == 1
    scenes[0].frames[0].load()
    asked = (tmp_path / "asked").read_text().split()
    assert sorted(asked) == sorted([MANIFEST, f"{source._place['4'][0]:06d}.tar"])


def test_what_is_no_set_is_refused(tmp_path, many):
    with pytest.raises(InputError, match=r"shards\.json: expected the list of a set's tars"):
        Shards(tmp_path)
    with pytest.raises(InputError, match=r"expected a scene among 10, got 77"):
        Shards(many).read("77")
    assert pack_main([str(tmp_path / "set"), str(many)]) == 2
    manifest = json.loads((many / MANIFEST).read_text())
    (many / manifest["shards"][0]["file"]).write_bytes(b"nothing of the kind" * 100)
    name = manifest["shards"][0]["scenes"][0]
    with pytest.raises(InputError, match=r"000000\.tar: expected a tar of scenes"):
        Shards(many, cache=tmp_path / "cache").read(name)

"""Indices: they say what reading says, follow changes of files, and a sample opens its own files only."""

import json
import os
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import assert_cameras, assert_depth, assert_images, make_room, scene_of, write_colmap, write_dl3dv

from geometry.commands.index_data import main as index_main
from geometry.datasets.colmap_folder import ColmapFolders
from geometry.datasets.dl3dv import DL3DV
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.engine import FixedBatchSampler
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import Mixture, Part
from geometry.sampling.overlap import overlap_of
from geometry.sampling.prepared import FOLDER, prepared
from geometry.scenes import index
from geometry.scenes.transforms_json import write_scene
from geometry.worlds.capture import write_world
from geometry.worlds.dataset import ProceduralDataset

opened: list[str] | None = None


def _listen(event, arguments):
    if opened is not None and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_listen)


@contextmanager
def opening(below):
    """Files below a folder that Python opens inside."""
    global opened
    opened = files = []
    try:
        yield files
    finally:
        opened = None
        files[:] = [f for f in files if str(below) in f and not os.path.isdir(f)]


def write_rgbd(folder, views):
    """A capture with depth: photos, 16-bit depth in millimetres, a transforms.json."""
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    names = [f"images/{i:03d}.png" for i in range(len(views))]
    for name, view in zip(names, views):
        Image.fromarray(view.image).save(folder / name)
        Image.fromarray(np.rint(view.depth * 1000).astype(np.uint16)).save(
            folder / name.replace("images", "depth")
        )
    write_scene(
        folder / "transforms.json",
        names,
        np.stack([v.extrinsics for v in views]),
        np.stack([v.intrinsics for v in views]),
        [v.depth.shape for v in views],
        per_frame=[{"depth_file_path": name.replace("images", "depth")} for name in names],
    )


@pytest.fixture
def rgbd(tmp_path):
    room = make_room(12)
    write_rgbd(tmp_path / "set/room", room)
    return tmp_path / "set", room


def samples_of(source, **options):
    return SamplingDataset(Mixture({"one": Part(source=source)}), image_size=(28, 42), views=3, **options)


def test_an_index_says_what_reading_says(rgbd):
    root, room = rgbd
    made = prepared(TransformsFolders(root), "room")
    source = TransformsFolders(root)
    source.read = None  # the index must do
    kept = prepared(source, "room")
    for scene in (made, kept):
        assert_cameras(scene, room)
        assert_images(scene, room)
        assert_depth(scene, room)
        assert (scene.overlap == overlap_of(scene)).all()
    assert [f.name for f in kept.frames] == [f.name for f in made.frames]
    assert kept.folder == root / "room"
    assert kept.source == made.source


def test_a_lens_survives(tmp_path):
    write_dl3dv(tmp_path, "a" * 64, make_room(4))
    path = tmp_path / ("a" * 64) / "nerfstudio/transforms.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "k1": 0.05, "p1": 0.01}))
    source = DL3DV(tmp_path, exclude=None)
    plain = source.read("a" * 64)
    prepared(source, "a" * 64)
    source.read = None
    for ours, theirs in zip(prepared(source, "a" * 64).frames, plain.frames):
        assert ours.lens == theirs.lens != None  # noqa: E711
        np.testing.assert_array_equal(ours.load(), theirs.load())
        np.testing.assert_array_equal(ours.intrinsics, theirs.intrinsics)
        np.testing.assert_array_equal(ours.extrinsics, theirs.extrinsics)


def test_a_sample_opens_its_own_files_only(rgbd):
    root, _ = rgbd
    prepared(TransformsFolders(root), "room")
    samples = samples_of(TransformsFolders(root))
    with opening(root) as files:
        samples[0]
    names = sorted(f.removeprefix(f"{root}/") for f in files)
    assert len([n for n in names if n.startswith("room/images/")]) == 3, names
    assert len([n for n in names if n.startswith("room/depth/")]) == 3, names
    assert [n.split("/")[0] for n in names if not n.startswith("room/")] == [FOLDER]
    assert len(names) == 7
    with opening(root) as files:
        samples[0]
    assert len(files) == 6  # the index is remembered


def test_sparse_points_come_from_the_index(tmp_path):
    room = make_room(5)
    write_colmap(tmp_path / "castle", room)
    model = colmap.model_from_cameras(
        [f"frame_{i + 1}.png" for i in range(5)],
        np.stack([v.extrinsics for v in room]),
        np.stack([v.intrinsics for v in room]),
        [v.image.shape[:2] for v in room],
        points=np.random.default_rng(0).uniform(1e6, 1e6 + 3, (40, 3)),  # far from the origin, as surveys are
        colours=np.zeros((40, 3), np.uint8),
        seen_by=np.arange(40) % 5,
    )
    colmap.write_model(tmp_path / "castle/sparse/0", model)
    source = ColmapFolders(tmp_path)
    plain = source.read("castle")
    prepared(source, "castle")
    with opening(tmp_path) as files:
        kept = prepared(source, "castle")
    assert len(files) == 1
    assert len(kept.points) == 40
    for ours, theirs in zip(kept.visibility, plain.visibility):
        np.testing.assert_allclose(kept.points[ours], plain.points[theirs], rtol=0, atol=1e-6)


def test_points_are_reduced_to_those_that_most_views_saw(monkeypatch):
    monkeypatch.setattr(index, "MOST_POINTS", 2)
    seen = (np.array([0, 1, 2]), np.array([1, 2]), np.array([2, 4]))
    scene = replace(scene_of(make_room(3)), points=np.arange(15.0).reshape(5, 3), visibility=seen)
    small = index.reduced(scene)
    assert [small.points[v].tolist() for v in small.visibility] == [
        scene.points[v].tolist() for v in ([1, 2], [1, 2], [2, 4])
    ]
    assert len(small.points) == 3


@pytest.mark.parametrize("change", ["cameras", "photo gone", "damaged index"])
def test_a_stale_index_is_made_anew(rgbd, change):
    root, room = rgbd
    prepared(TransformsFolders(root), "room")
    (file,) = (root / FOLDER).rglob("*.npz")
    if change == "cameras":
        path = root / "room/transforms.json"
        content = json.loads(path.read_text())
        content["frames"] = content["frames"][:7]
        path.write_text(json.dumps(content))
        expected = 7
    elif change == "photo gone":
        (root / "room/images/003.png").unlink()
        expected = 11
    else:
        file.write_bytes(file.read_bytes()[:500])
        expected = 12
    if change == "cameras":
        scene = prepared(TransformsFolders(root), "room")
    else:
        with pytest.warns(UserWarning, match="made anew|are missing"):
            scene = prepared(TransformsFolders(root), "room")
    assert len(scene) == expected
    with opening(root) as files:
        assert len(prepared(TransformsFolders(root), "room")) == expected
    assert len(files) == 1


def test_labels_beside_the_data_do_not_make_it_stale(rgbd):
    root, _ = rgbd
    prepared(TransformsFolders(root), "room")
    (root / "room/teacher_depth").mkdir()
    source = TransformsFolders(root)
    source.read = None
    assert len(prepared(source, "room")) == 12


def test_a_read_only_set_has_its_index_in_the_cache(rgbd, tmp_path, monkeypatch):
    root, _ = rgbd
    monkeypatch.setenv("FEEDFORWARD_NVS_CACHE", str(tmp_path / "cache"))
    (root / FOLDER).write_text("in the way, as a read-only disk is to whoever is not root")
    prepared(TransformsFolders(root), "room")
    (file,) = (tmp_path / "cache").rglob("*.npz")
    source = TransformsFolders(root)
    source.read = None
    assert len(prepared(source, "room")) == 12
    file.parent.rename(tmp_path / "away")
    file.parent.write_text("no room here either")
    with pytest.warns(UserWarning, match="made each time"):
        assert len(prepared(TransformsFolders(root), "room")) == 12


def test_options_that_change_a_scene_have_their_own_index(rgbd):
    root, _ = rgbd
    assert not prepared(TransformsFolders(root), "room").metric
    assert prepared(TransformsFolders(root, metric=True), "room").metric
    assert not prepared(TransformsFolders(root, scenes=["room"]), "room").metric
    assert len(list((root / FOLDER).rglob("*.npz"))) == 2


def test_an_index_runs_nothing_but_readers_of_maps(rgbd):
    root, _ = rgbd
    prepared(TransformsFolders(root), "room")
    (file,) = (root / FOLDER).rglob("*.npz")
    for function in ("os:system", "geometry.atomic:clear_leftovers", "geometry.formats.depth_files:np.save"):
        with zipfile.ZipFile(file) as archive:
            arrays = {n: archive.read(n) for n in archive.namelist()}
        with np.load(file) as stored:
            plain = {n: stored[n] for n in stored.files}
        text = (
            plain["json"].tobytes().replace(b"geometry.scenes.transforms_json:read_depth", function.encode())
        )
        np.savez(file, **(plain | {"json": np.frombuffer(text, np.uint8)}))
        with pytest.raises(InputError, match="reads no map"):
            index.read_index(file, root)
        file.write_bytes(b"")
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in arrays.items():
                archive.writestr(name, content)


def test_single_photos_share_a_scene(tmp_path):
    for i in range(4):
        write_rgbd(tmp_path / f"room{i}", make_room(6, seed=i))
    source = TransformsFolders(tmp_path)
    reads = []
    source.read = lambda name, read=source.read: reads.append(name) or read(name)
    mixture = Mixture({"one": Part(source=source)}, cache=1)
    samples = SamplingDataset(mixture, image_size=(28, 42), views=1, samples_of_scene=4)
    sampler = FixedBatchSampler(batch_size=16)
    made = [samples[r] for r in sampler.requests(0, seed=0, parts=1, length=None)]
    assert len(reads) <= 4
    looks = {float(m.views.images.sum()) for m in made[:4]}
    assert len(looks) > 1  # other photos of it
    again = samples[sampler.requests(0, seed=0, parts=1, length=None)[6]]
    assert torch.equal(again.views.images, made[6].views.images)


def test_the_command_indexes_all_and_names_what_it_cannot(rgbd, capsys):
    root, _ = rgbd
    (root / "broken").mkdir()
    (root / "broken/transforms.json").write_text("{}")
    assert index_main([str(root), "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "broken/transforms.json: expected a list 'frames'" in out
    assert len(list((root / FOLDER).rglob("*.npz"))) == 1


@pytest.mark.extended
def test_worlds_on_disk_have_depth_and_sky(tmp_path):
    assert write_world(tmp_path, 3, photos=3, image_size=(28, 42))
    assert not write_world(tmp_path, 3, photos=3, image_size=(28, 42))
    truth = ProceduralDataset(0).sample(3, n_views=3, image_size=(28, 42)).truth
    scene = prepared(TransformsFolders(tmp_path, sky_without_depth=True), "000003")
    for i, frame in enumerate(scene.frames):
        depth, valid = truth.depth[0, i].numpy(), truth.valid[0, i].numpy()
        np.testing.assert_allclose(frame.load_depth()[valid], depth[valid], atol=depth[valid].max() / 60_000)
        np.testing.assert_array_equal(frame.load_sky(), truth.sky[0, i].numpy())
        np.testing.assert_allclose(frame.extrinsics, truth.cameras.extrinsics[0, i].numpy(), atol=1e-5)

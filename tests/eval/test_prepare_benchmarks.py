"""Preparation of the view-synthesis benchmark: what is missing, and the splits written."""

import json
import zipfile

import numpy as np
import pytest
from scenes import make_arc, write_colmap, write_dl3dv, write_room

from eval.protocols.splits import read_split
from geometry.commands.prepare_data import main


@pytest.fixture(scope="module")
def views():
    return make_arc()


def said(capsys):
    return "".join(capsys.readouterr())


def run(name, *arguments):
    return main([name, *(str(a) for a in arguments)])


def test_dl3dv_benchmark_checks_and_splits(tmp_path, views, capsys):
    hashes = [c * 64 for c in "ab"]
    for scene in hashes:
        write_dl3dv(tmp_path, scene, views)
    assert run("dl3dv_benchmark", tmp_path) == 1
    assert "benchmark-meta.csv: missing" in said(capsys)
    (tmp_path / "benchmark-meta.csv").write_text(
        "batch,hash\n" + "".join(f"1K,{h}\n" for h in (*hashes, "c" * 64))
    )
    photo = tmp_path / hashes[1] / "nerfstudio/images_8/frame_4.png"
    good = photo.read_bytes()
    photo.unlink()
    assert run("dl3dv_benchmark", tmp_path) == 1
    out = said(capsys)
    assert f"{'c' * 64}: missing" in out
    assert "1 of 10 listed photos are missing" in out
    assert not (tmp_path / "split.json").exists()

    photo.write_bytes(good)
    (tmp_path / "benchmark-meta.csv").write_text("batch,hash\n" + "".join(f"1K,{h}\n" for h in hashes))
    assert run("dl3dv_benchmark", tmp_path) == 0
    assert "the benchmark has 140 scenes, 2 are here" in said(capsys)
    split = read_split(tmp_path / "split.json")
    assert (split.benchmark, [scene.name for scene in split.scenes]) == ("dl3dv", hashes)


def test_dl3dv_benchmark_fetches_only_what_is_needed(tmp_path, views, monkeypatch, capsys):
    import huggingface_hub

    asked = {}

    def fake(repository, **options):
        asked.update(options, repository=repository)
        write_dl3dv(tmp_path, "a" * 64, views)
        (tmp_path / "benchmark-meta.csv").write_text("a" * 64)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    assert run("dl3dv_benchmark", tmp_path, "--fetch") == 0
    assert asked["repository"] == "DL3DV/DL3DV-Benchmark"
    assert asked["allow_patterns"][1:] == ["*/nerfstudio/transforms.json", "*/nerfstudio/images_8/*"]

    def refused(repository, **options):
        raise huggingface_hub.errors.LocalTokenNotFoundError("no token here\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    assert run("dl3dv_benchmark", tmp_path, "--fetch") == 2
    assert "could not fetch (no token here); accept the terms" in said(capsys)


def test_tanks_and_temples(tmp_path, views, capsys):
    scenes = ("Barn", "Caterpillar", "Church", "Ignatius", "Meetingroom", "Truck")
    for scene in scenes[2:]:
        write_colmap(tmp_path / scene, views)
    write_room(tmp_path / "source", views)
    with zipfile.ZipFile(tmp_path / "Barn.zip", "w") as archive:
        for photo in (tmp_path / "source").iterdir():
            archive.write(photo, f"Barn/{photo.name}")
        archive.writestr("Barn/readme.txt", "x")
    assert run("tanks_and_temples", tmp_path) == 1
    out = said(capsys)
    assert "Barn.zip: 10 files written" in out
    assert "Barn: no COLMAP model and no --intrinsics; to do:\n  colmap feature_extractor" in out
    assert "Caterpillar: missing" in out
    assert "Church: 10 photos with poses" in out
    assert not (tmp_path / "Barn/readme.txt").exists()

    # Barn in official form with given intrinsics, Caterpillar as a COLMAP model.
    write_colmap(tmp_path / "Caterpillar", views)
    (tmp_path / "Barn.zip").unlink()
    for i in range(10):
        (tmp_path / f"Barn/frame_{i + 1}.png").rename(tmp_path / f"Barn/{i + 1:06d}.png")
    lines = []
    for i, view in enumerate(views):
        lines += [
            f"{i} {i} 0",
            *(" ".join(map(repr, row.tolist())) for row in np.linalg.inv(view.extrinsics)),
        ]
    (tmp_path / "Barn_COLMAP_SfM.log").write_text("\n".join(lines) + "\n")
    (fx, _, cx), (_, fy, cy), _ = views[0].intrinsics.tolist()
    H, W = views[0].image.shape[:2]
    keys = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": W, "h": H}
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps({"Barn": keys}))
    assert run("tanks_and_temples", tmp_path, "--intrinsics", cameras) == 0
    split = read_split(tmp_path / "split.json")
    assert [scene.name for scene in split.scenes] == list(scenes)


@pytest.mark.extended
def test_megadepth_benchmark(tmp_path, views, capsys):
    places = [str(place) for place in range(5000, 5019)]
    (tmp_path / "MegaDepth_v1_SfM/5000/sparse/manhattan/0").mkdir(parents=True)
    for place in places[1:]:
        write_colmap(tmp_path / "Undistorted_SfM" / place, views, model="sparse")
    assert run("megadepth", tmp_path, "--benchmark") == 1
    out = said(capsys)
    assert "to do: colmap image_undistorter" in out
    assert "no split yet: 1 of 19 scenes are missing (5000, ...)" in out
    write_colmap(tmp_path / "Undistorted_SfM/5000", views, model="sparse")
    assert run("megadepth", tmp_path, "--benchmark") == 0
    assert [scene.name for scene in read_split(tmp_path / "split.json").scenes] == places

"""Training scenes that are in a benchmark are found by id, photo, and near-duplicate; others are not."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import make_arc, write_capture

from eval.__main__ import main
from eval.audit import audit, look
from eval.benchmarks.folder import Captures
from eval.run_folder import Store
from geometry.formats.images import read_image

LARGE = (144, 256)


@pytest.fixture
def benchmark(tmp_path):
    write_capture(tmp_path / "bench/kitchen", make_arc(4, size=LARGE, seed=1))
    write_capture(tmp_path / "bench/hall", other_room(11))
    return tmp_path / "bench"


def other_room(seed):
    """Photos of another place: the room's colours mirrored and mixed."""
    views = make_arc(4, size=LARGE, seed=seed)
    rng = np.random.default_rng(seed)
    for view in views:
        noise = cv2.resize(rng.integers(0, 255, (9, 16, 3)).astype(np.uint8), LARGE[::-1], interpolation=2)
        view.image[:] = noise
    return views


def found(training, benchmark):
    return {m.training: m for m in audit({"mine": Captures(training)}, Captures(benchmark))}


def test_ids_photos_and_near_duplicates(tmp_path, benchmark):
    training = tmp_path / "training"
    shutil.copytree(benchmark / "kitchen", training / "copied")
    write_capture(training / "hall_2", other_room(3))
    write_capture(training / "kitchen", other_room(4))
    again = write_capture(training / "compressed", other_room(11))
    for photo in (again / "images").iterdir():  # as someone else's copy: other size, darker, JPEG
        pixels = cv2.resize(read_image(photo), (200, 112), interpolation=cv2.INTER_AREA)
        pixels = (0.9 * pixels).astype(np.uint8)
        cv2.imwrite(str(photo), pixels[..., ::-1])
    matches = found(training, benchmark)
    assert matches["mine: copied"].reason == "photo"
    assert (matches["mine: copied"].benchmark, matches["mine: copied"].photos) == ("kitchen", 4)
    assert matches["mine: kitchen"].reason == "id"
    assert matches["mine: compressed"].reason == "near-duplicate"
    assert "mine: hall_2" not in matches


def test_flat_photos_are_no_near_duplicates(tmp_path):
    for name, grey in (("a", 100), ("b", 140)):
        views = make_arc(3, size=LARGE)
        for view in views:
            view.image[:] = grey
        write_capture(tmp_path / name / "white", views)
    (tmp_path / "b/white").rename(tmp_path / "b/wall")
    assert found(tmp_path / "a", tmp_path / "b") == {}


def test_turned_or_other_photos_have_far_hashes():
    photo, other = make_arc(1, size=LARGE)[0].image, other_room(2)[0].image
    bits = [look(p)[0][0] for p in (photo, photo[::-1], other)]
    assert [int(np.unpackbits(bits[0] ^ b).sum()) > 60 for b in bits] == [False, True, True]


@pytest.mark.extended
def test_the_command_and_the_tables_footnote(tmp_path, benchmark, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["benchmark.root=bench", "benchmark.rule.context=2", "benchmark.long_side=64", "metrics=[psnr]"]
    assert main(["run", "out=run", "method=nearest", "device=cpu", *data]) == 0
    shutil.copytree(benchmark / "kitchen", tmp_path / "training/mine")
    assert main(["audit", "training=training", "benchmark.root=bench", "out=run"]) == 1
    said = capsys.readouterr().out
    assert "training: mine is kitchen by photo, 4 photos" in said
    assert json.loads((tmp_path / "run/audit.json").read_text())["matches"][0]["reason"] == "photo"
    assert main(["table", "run"]) == 0
    assert "- nearest context view: 1 of 2 scenes occur in the training data training (by photo)" in (
        capsys.readouterr().out
    )
    assert Store("run").summary.is_file()
    write_capture(tmp_path / "clean/other", other_room(5))
    assert main(["audit", "training=clean", "benchmark.root=bench", "out=run"]) == 0
    assert "none of the 2 scenes was found" in capsys.readouterr().out


def test_cropped_and_mirrored_copies_are_near_duplicates(tmp_path):
    views = make_arc(3, size=(288, 512))
    write_capture(tmp_path / "bench/room", views)
    copies = {
        "cut": lambda p: p[24:-24, 40:-40],
        "square": lambda p: p[:, 112:-112],
        "mirrored": lambda p: p[:, ::-1],
        "upside down": lambda p: p[::-1],
    }
    for name, copy in copies.items():
        (tmp_path / "training" / name).mkdir(parents=True)
        for i, view in enumerate(views):
            cv2.imwrite(str(tmp_path / "training" / name / f"{i}.jpg"), copy(view.image)[..., ::-1])
    matches = audit({"mine": Captures(tmp_path / "training", posed=False)}, Captures(tmp_path / "bench"))
    assert [m.training for m in matches] == ["mine: cut", "mine: mirrored", "mine: square"]
    assert {(m.reason, m.photos) for m in matches} == {("near-duplicate", 3)}


def test_photos_without_cameras_against_the_photos_of_a_split(tmp_path, benchmark, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["benchmark.root=bench", "benchmark.rule.context=1"]
    assert main(["split", *data, "split=split.json"]) == 0
    scenes = json.loads((tmp_path / "split.json").read_text())["scenes"]
    (kitchen,) = [scene for scene in scenes if scene["name"] == "kitchen"]
    used = {*kitchen["context"], *(target["name"] for target in kitchen["targets"])}
    for name, kept in (("used", used), ("unused", set(kitchen["frames"]) - used)):
        for photo in kept:
            (tmp_path / name / "scene").mkdir(parents=True, exist_ok=True)
            shutil.copy(benchmark / "kitchen/images" / Path(photo).name, tmp_path / name / "scene")
    assert main(["audit", "training=used", *data, "split=split.json"]) == 1
    assert f"scene is kitchen by photo, {len(used)} photos" in capsys.readouterr().out
    assert main(["audit", "training=unused", *data, "split=split.json", "near=0"]) == 0


def test_an_experiments_data(tmp_path, benchmark, capsys):
    words = f"training=nvs/gs_dl3dv data.dataset.mixture.parts.dl3dv.source.root={tmp_path / 'none'}"
    assert main(["audit", words, f"benchmark.root={benchmark}"]) == 2
    assert "none: expected" in capsys.readouterr().err
    assert main(["audit", "training=nowhere", f"benchmark.root={benchmark}"]) == 2
    assert "expected an experiment or a folder of captures" in capsys.readouterr().err

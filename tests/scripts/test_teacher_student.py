"""The teacher-student example: its captures, its judgement of labels, and the whole of it in short."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from geometry.datasets.transforms_folder import TransformsFolders
from geometry.training.labels import FOLDER, label_folder, label_path, write_label

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/teacher_student.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("teacher_student", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_captures_are_a_data_set_with_poor_depth_and_labels_are_judged(script, tmp_path):
    exact = script.write_capture(tmp_path / "room_0", 0, 3)
    assert script.write_capture(tmp_path / "room_0", 0, 3).keys() == exact.keys()
    scene = TransformsFolders(tmp_path).read("room_0")
    assert len(scene.frames) == 3
    wrong = []
    for frame in scene.frames:
        assert frame.load().shape == (*script.SIZE, 3)
        depth, truth = frame.load_depth(), exact["room_0", frame.name]
        known = depth > 0
        assert known.sum() == script.POINTS
        wrong.append((np.abs(depth - truth)[known] > 0.01 * truth[known]).mean())
    assert abs(np.mean(wrong) - script.WRONG) < 0.06

    good, bad = scene.frames[0], scene.frames[1]
    write_label(label_path(scene, good, FOLDER), 1.1 * exact["room_0", good.name])
    report = label_folder(scene, FOLDER) / "report.jsonl"
    failures = [None, "too few points: 3", "too few points: 3"]
    entries = [{"frame": f.name, "failure": why} for f, why in zip(scene.frames, failures)]
    report.write_text("\n".join(json.dumps(entry) for entry in entries))
    said = script.judge(tmp_path, exact).splitlines()
    assert said[1].startswith("labels: 1 photos, AbsRel 0.100 ")
    assert said[2].startswith("guessing: 3 photos")
    assert said[2].endswith("on 100%")
    assert "without a label: 2 photos" in said
    assert f"  room_0 {bad.name}: too few points: 3" in said


@pytest.mark.slow
def test_the_whole_example_runs(script, tmp_path, capsys):
    short = ["loop.steps=2", "threads=1", "~validation.unseen", "validation.rooms.samples=2"]
    out = ["--out", str(tmp_path), "--rooms", "2", "--photos", "6"]
    assert script.main([*out, *short, "validation.rooms.dataset.worlds=2"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["none", "no_teacher", "guessing"]

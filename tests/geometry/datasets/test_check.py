"""The command, on layouts written to disk: exit status, the line that names the mistake, JSON."""

import json

import numpy as np
import pytest
from PIL import Image
from scenes import make_room, scene_of

from geometry.commands.check_data import main
from geometry.datasets.check import check_scene
from geometry.scenes.checks.cameras import HYPOTHESES, CameraVerdict


def write_wildrgbd(root, room, *, invert=False, unit=1000):
    folder = root / "apple/scenes/scenes_000"
    lines = []
    for i, view in enumerate(room):
        for kind, data in (("rgb", view.image), ("depth", np.round(view.depth * unit).astype(np.uint16))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(data).save(folder / kind / f"{i:05d}.png")
        pose = view.extrinsics if invert else view.cam_to_world
        lines.append(" ".join(map(str, (i, *pose.flatten()))))
    (folder / "cam_poses.txt").write_text("\n".join(lines))
    K = room[0].intrinsics.T.flatten().tolist()
    (folder / "metadata").write_text(json.dumps({"w": 80, "h": 60, "K": K}))


@pytest.fixture(scope="module")
def long_room():
    return make_room(6, (60, 80))


def test_a_good_download(tmp_path, long_room, capsys):
    write_wildrgbd(tmp_path, long_room)
    assert main([str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    out = capsys.readouterr().out
    assert "wildrgbd, 1 scenes" in out
    assert "6 frames, 60 x 80, depth on 100% of the pixels, 60 x 80, in metres" in out
    assert "poses, intrinsics and depth fit" in out
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["scenes"][0]["verdict"] == "consistent"
    assert content["scenes"][0]["agreement"] > 0.95


@pytest.mark.extended
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"invert": True}, "the poses inverted"),
        ({"unit": 5000}, "depth times 0.2"),
    ],
)
def test_what_is_off_is_named(tmp_path, long_room, capsys, options, message):
    write_wildrgbd(tmp_path, long_room, **options)
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"they would agree with {message}" in out
    assert "0 of 1 scenes consistent, 1 off" in out


def test_damage_is_reported_with_its_file(tmp_path, long_room, capsys):
    write_wildrgbd(tmp_path, long_room)
    (tmp_path / "apple/scenes/scenes_000/rgb/00000.png").write_bytes(b"")
    assert main([str(tmp_path)]) == 1
    assert "00000.png: expected an image, got an empty file" in capsys.readouterr().out


def test_unknown_folders_exit_with_two(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "expected a data set in a known layout" in capsys.readouterr().err


def test_a_real_capture_without_depth(captures_dir, capsys):
    assert main([str(captures_dir / "sceaux_castle")]) == 0
    assert "sparse points agree with the poses" in capsys.readouterr().out


def test_what_would_mend_the_poses_is_said(room, monkeypatch):
    verdict = CameraVerdict(
        verdict="contradiction",
        evidence="points",
        support={"given": 0.1, "inverted": 0.9, "flipped": 0.85},
        better=("inverted", "flipped"),
    )
    monkeypatch.setattr("geometry.datasets.check.check_cameras", lambda scene: verdict)
    (line,) = (line for line in check_scene(scene_of(room, depth=False)).lines if "no depth" in line)
    assert "only 10% of the sparse points" in line
    assert f"they would agree (90%) {HYPOTHESES['inverted']}, or {HYPOTHESES['flipped']}" in line


def test_a_reader_and_its_options_by_name(tmp_path, long_room, capsys):
    write_wildrgbd(tmp_path, long_room)
    arguments = [str(tmp_path), "--kind", "wildrgbd", "--option", 'categories=["apple"]']
    assert main(arguments) == 0
    assert main([str(tmp_path), "--kind", "wildrgbd", "--option", "categories"]) == 2
    assert "expected NAME=VALUE" in capsys.readouterr().err

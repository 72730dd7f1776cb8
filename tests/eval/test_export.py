"""Export: what another program needs to take part, and nothing of the answer."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from eval.__main__ import main
from eval.run_folder import Store
from geometry.formats.text import read_object
from geometry.scenes.photos import open_photos

pytestmark = pytest.mark.extended  # whole runs, seconds each

COMMON = ["benchmark.rule.context=4", "benchmark.size=[30,48]"]


def nvs_eval(*words):
    return main([str(word) for word in words])


def nearest_photo(export, renders):
    """A program of somebody else: reads JSON and PNG, knows nothing of this project."""
    for folder in (path.parent for path in export.glob("*/targets.json")):
        wanted = json.loads((folder / "targets.json").read_text())
        given = json.loads((folder / "transforms.json").read_text())["frames"]
        frames = [*given, *wanted["frames"]]
        poses = np.array([frame["transform_matrix"] for frame in frames])
        shift = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
        turn = np.einsum("iab,jab->ij", poses[:, :3, :3], poses[:, :3, :3])
        distance = shift / shift.max() + np.arccos(((turn - 1) / 2).clip(-1, 1)) / math.pi
        for target, row in zip(wanted["frames"], distance[len(given) :]):
            photo = folder / given[int(row[: len(given)].argmin())]["file_path"]
            with Image.open(photo) as picture:
                assert picture.size == (wanted["w"], wanted["h"])
            place = renders / wanted["scene"] / target["file_path"]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, place)


def scores(out, *words):
    assert nvs_eval("run", f"out={out}", *COMMON, "metrics=[psnr,ssim]", "device=cpu", *words) == 0
    summary = read_object(Store(out).summary, "a run")
    return summary["split"], [scene["targets"] for scene in summary["scenes"]]


def test_another_program_takes_part(tmp_path, captures):
    data, export = f"benchmark.root={captures}", tmp_path / "export"
    assert nvs_eval("export", data, *COMMON, f"out={export}") == 0
    nearest_photo(export, tmp_path / "renders")
    words = [data, f"split={export / 'split.json'}"]
    theirs = scores(tmp_path / "theirs", *words, "method=renders", f"renders.folder={tmp_path / 'renders'}")
    assert theirs == scores(tmp_path / "ours", *words, "method=nearest")


def test_the_export_is_a_capture_without_the_targets(tmp_path, capture):
    words = ["export", f"benchmark.root={capture}", *COMMON, f"out={tmp_path / 'e'}"]
    assert nvs_eval(*words) == 0
    scene = open_photos(tmp_path / "e/room")
    original = {frame.name: frame for frame in open_photos(capture).frames}
    wanted = json.loads((tmp_path / "e/room/transforms.json").read_text())["frames"]
    assert len(scene) == len(wanted) == 4
    photo_of = {entry["file_path"]: entry["photo"] for entry in wanted}
    for frame in scene.frames:
        source = original[photo_of[frame.name]]
        np.testing.assert_allclose(frame.extrinsics, source.extrinsics, atol=1e-9)
        # 36 x 64 photos cover 30 x 48: scaled by 30 / 36, cut to the middle 58 columns.
        K = source.intrinsics
        assert frame.intrinsics[1, 1] == pytest.approx(K[1, 1] * 30 / 36)
        assert frame.intrinsics[0, 2] == pytest.approx((K[0, 2] - 3) * 48 / 58)
    drawn = [
        entry["file_path"] for entry in json.loads((tmp_path / "e/room/targets.json").read_text())["frames"]
    ]
    assert drawn == ["frame_1.png", "frame_9.png"]
    names = {path.name for path in (tmp_path / "e").rglob("*.png")}
    assert names.isdisjoint(drawn)
    assert nvs_eval(*words) == 0  # again


def test_mistakes(tmp_path, capture, capsys):
    data = f"benchmark.root={capture}"
    assert nvs_eval("export", data) == 2
    assert "expected out=DIR" in capsys.readouterr().err
    assert nvs_eval("export", data, f"out={capture}") == 2
    assert "expected a folder of its own" in capsys.readouterr().err
    out = f"out={tmp_path / 'e'}"
    assert nvs_eval("export", data, *COMMON, out) == 0
    assert nvs_eval("split", data, f"split={tmp_path / 's.json'}", "benchmark.rule.context=3") == 0
    other = [f"split={tmp_path / 's.json'}", "benchmark.rule.context=3"]
    capsys.readouterr()
    assert nvs_eval("export", data, out, *other) == 2
    assert "holds an export of another split" in capsys.readouterr().err
    assert nvs_eval("export", data, out, f"split={tmp_path / 's.json'}") == 2
    assert "made by another rule" in capsys.readouterr().err

"""Outputs stay apart from inputs, and replace only files that we wrote."""

import json
from pathlib import Path

import pytest

from geometry.errors import InputError
from geometry.results import file_names, keep_apart, require_results, require_run, result_folder

FILES = ("scene.json", "images/*.png")


def write(out, **names):
    with result_folder(out) as folder:
        (folder / "images").mkdir()
        for name, text in {"scene.json": "{}", **names}.items():
            (folder / name).write_text(text)


def files(folder):
    found = (p for p in folder.rglob("*") if p.is_file() and p.name != ".written.json")
    return {p.relative_to(folder).as_posix(): p.read_text() for p in found}


def test_a_later_run_replaces_an_earlier_ones_files_and_no_others(tmp_path):
    out = tmp_path / "out"
    write(out, **{"images/0.png": "old", "images/1.png": "old"})
    (out / "notes.txt").write_text("mine")
    for text in ("new", "newer"):
        require_results(out, FILES, [])
        write(out, **{"images/0.png": text})
    assert files(out) == {
        "scene.json": "{}",
        "images/0.png": "newer",
        "images/1.png": "old",
        "notes.txt": "mine",
    }
    require_results(out, FILES, [])  # images/1.png is still known as ours


def test_a_run_killed_while_files_are_replaced_can_be_repeated(tmp_path, monkeypatch):
    out, old = tmp_path / "out", {f"images/{i}.png": "old" for i in range(3)}
    write(out, **old)
    replace, moves = Path.replace, []

    def killed(self, target):
        moves.append(target)
        if len(moves) == 3:
            raise SystemExit
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(SystemExit):
        write(out, **dict.fromkeys(old, "newer"))
    monkeypatch.undo()
    assert sorted(files(out).values()) == ["newer", "old", "old", "{}"]
    require_results(out, FILES, [])
    write(out, **dict.fromkeys(old, "newest"))
    assert files(out) == {"scene.json": "{}", **dict.fromkeys(old, "newest")}


@pytest.mark.parametrize("how", ["no run", "added", "changed"])
def test_a_file_that_we_did_not_write_is_named_and_stays(tmp_path, how):
    out = tmp_path / "out"
    if how != "no run":
        write(out, **({"images/0.png": "ours"} if how == "changed" else {}))
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "images/0.png").write_text("a person's")
    before = files(out)
    with pytest.raises(InputError, match=r"images/0\.png: expected no file .* move it away"):
        require_results(out, FILES, [])
    with pytest.raises(InputError, match=r"images/0\.png: expected no file"):
        write(out, **{"images/0.png": "new", "images/1.png": "new"})
    assert files(out) == before


def test_results_from_before_files_were_listed_are_known_by_their_scene_json(tmp_path):
    about = dict.fromkeys(("model", "weights", "trained", "licence", "poses", "photos", "world"), 0)
    for text in (json.dumps(about), '{"name": "a person\'s"}', "no JSON"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "scene.json").write_text(text)
        (tmp_path / "images/0.png").write_text("old")
        if "model" in text:
            require_results(tmp_path, FILES, [])
        else:
            with pytest.raises(InputError, match=r"scene\.json: expected no file"):
                require_results(tmp_path, FILES, [])


def test_an_output_that_is_or_holds_an_input_is_refused_however_it_is_named(tmp_path, monkeypatch):
    photos = tmp_path / "work/capture/images"
    photos.mkdir(parents=True)
    (photos / "0.png").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "work/capture")
    (tmp_path / "work/elsewhere").symlink_to(photos)
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(photos)
    capture = tmp_path / "work/capture"
    for out, source in [
        (capture, capture),
        (tmp_path / "work", capture),  # holds it
        (tmp_path / "link", capture),
        (capture, tmp_path / "link/images/0.png"),
        (tmp_path / "beside/..", "../../elsewhere"),
        (photos, "0.png"),
        ("..", photos),
    ]:
        with pytest.raises(InputError, match="expected a folder of its own"):
            keep_apart(out, [None, source])
    for out in (capture / "scene", tmp_path / "beside", tmp_path / "work/capture2"):
        keep_apart(out, [capture, photos / "0.png"])


def test_a_training_run_replaces_no_weights_and_no_log_of_others(tmp_path):
    require_run(tmp_path / "new", ["best.safetensors"])
    for name in ("best.safetensors", "log.jsonl"):
        (tmp_path / name).write_text("another's")
        with pytest.raises(InputError, match=f"{name}: expected no such file"):
            require_run(tmp_path, ["best.safetensors"])
        (tmp_path / name).unlink()
    (tmp_path / "log.jsonl").write_text('{"kind": "start", "step": 0}\n')  # stopped before a checkpoint
    require_run(tmp_path, ["best.safetensors"])
    (tmp_path / "best.safetensors").write_text("ours")
    (tmp_path / "checkpoints/step_00000010").mkdir(parents=True)
    require_run(tmp_path, ["best.safetensors"])


def test_file_names_are_unique():
    assert file_names(["a/x.jpg", "b/y.jpg"]) == ["x", "y"]
    assert file_names(["a/x.jpg", "b/x.jpg"]) == ["0000_x", "0001_x"]

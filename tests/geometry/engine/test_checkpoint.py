"""Whole or not at all."""

import json
import os

import pytest
import torch

from geometry.engine import Saving, best_checkpoint, load_weights, newest_whole
from geometry.engine.checkpoint import find_damage, list_checkpoints, prune_checkpoints, write_checkpoint
from geometry.errors import InputError

WEIGHTS = "shard-00001-model-00001-of-00002.safetensors"


def write(folder, step, **metrics):
    tensors = {"model.w": torch.full((3,), float(step)), "optimizer.w.step": torch.tensor(1.0)}
    return write_checkpoint(folder, step, tensors, {"best": 1}, {"metrics": metrics}).result()


def steps(folder):
    return [int(p.name[5:]) for p in list_checkpoints(folder)]


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path, 7, psnr=1.0)
    assert find_damage(path) is None
    assert torch.equal(load_weights(path)["w"], torch.full((3,), 7.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000007"]


def test_a_failure_while_writing_leaves_the_older_one_alone(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


def test_ctrl_c_while_a_checkpoint_is_read_stays_one(tmp_path, monkeypatch):
    path = write(tmp_path, 1)

    def read_data(self, plan, planner):
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.distributed.checkpoint.HuggingFaceStorageReader.read_data", read_data)
    with pytest.raises(KeyboardInterrupt):
        load_weights(path)


def test_rubbish_of_a_killed_write_is_cleared_and_ignored(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "step_00000002.partial").mkdir()
    (tmp_path / "step_00000002.partial/model.pt").write_bytes(b"half")
    assert newest_whole(tmp_path).name == "step_00000001"
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


def test_every_kind_of_damage_is_found(tmp_path):
    cut, flipped, missing, meta, nameless = (write(tmp_path, i) for i in range(5))
    os.truncate(cut / WEIGHTS, 10)
    data = bytearray((flipped / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (flipped / WEIGHTS).write_bytes(data)
    (missing / WEIGHTS).unlink()
    (meta / "meta.json").write_text('{"step": 3, "fi')
    (nameless / "meta.json").write_text((nameless / "meta.json").read_text().replace("format", "f9rmat"))
    assert "has 10 bytes" in find_damage(cut)
    assert "SHA-256" in find_damage(flipped)
    assert f"{WEIGHTS} is missing" in find_damage(missing)
    assert "meta.json cannot be read" in find_damage(meta)
    assert "meta.json cannot be read" in find_damage(nameless)
    with pytest.raises(InputError, match="SHA-256"):
        load_weights(flipped)


def test_with_nothing_whole_left_it_stops_instead_of_starting_anew(tmp_path):
    os.truncate(write(tmp_path, 1) / WEIGHTS, 10)
    with pytest.warns(UserWarning, match="has 10 bytes"), pytest.raises(InputError, match="none of the 1"):
        newest_whole(tmp_path)
    assert newest_whole(tmp_path / "absent") is None


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    saving = Saving(keep_last=2, best_metric="absrel", best_is="min")
    for step, value in enumerate([0.5, 0.2, 0.3, 0.4, float("nan")]):
        write(tmp_path, step, absrel=value)
        prune_checkpoints(tmp_path, saving)
    assert steps(tmp_path) == [1, 3, 4]
    assert best_checkpoint(tmp_path, saving).name == "step_00000001"
    assert best_checkpoint(tmp_path, Saving(best_metric="absrel", best_is="max")).name == "step_00000003"
    os.truncate(tmp_path / "step_00000001/meta.json", 5)
    assert best_checkpoint(tmp_path, saving).name == "step_00000003"


def test_writing_a_step_again_replaces_it(tmp_path):
    write(tmp_path, 1, a=1.0)
    path = write(tmp_path, 1, a=2.0)
    assert json.loads((path / "meta.json").read_text())["metrics"] == {"a": 2.0}


def test_a_missing_best_metric_is_named():
    with pytest.raises(InputError, match="no 'psnr', only absrel"):
        Saving(best_metric="psnr").better({"absrel": 1.0}, None)

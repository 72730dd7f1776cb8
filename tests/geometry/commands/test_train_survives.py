"""`geometry train` where things go wrong: NaN, preemption, a second run, damaged photos, another cut."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import make_room, write_capture

from geometry.commands import train
from geometry.engine import INTERRUPTED, load_weights
from geometry.training.student import StudentStep

ROOT = Path(__file__).resolve().parents[3]
QUICK = ["threads=1", "guess=false", "export.variant=null", "loop.log_every=1", "loop.validate_every=null"]
QUICK += ["loop.validate_first=false", "loop.schedule.warmup_steps=1", "loop.tensorboard=false"]
WORLDS = [
    "experiment=geometry/smoke",
    "data.dataset.weights.many=0",
    "data.dataset.datasets.few.worlds=2",
    "data.dataset.datasets.few.photos=3",
    "data.dataset.datasets.few.image_size=[28,42]",
    "data.sampler.image_size=[28,42]",
    "data.sampler.batch_size=2",
    "data.sampler.views=2",
    *QUICK,
]
CAPTURE = [
    "experiment=geometry/finetune",
    "model.variant=tiny",
    "init=null",
    "validation=none",
    "data/source@data.dataset.mixture.parts.one.source=transforms",
    "data.sampler.tokens=18",
    "data.sampler.image_sizes=[[28,42]]",
    "data.sampler.views=[3,3]",
    "data.workers=1",
    "loop.device=cpu",
    "loop.precision.compute=float32",
    *QUICK,
]


def run(out, *overrides):
    return train.main([*overrides, f"out={out}"])


def entries(out, kind):
    return [e for e in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if e["kind"] == kind]


def test_a_nan_skips_its_update_is_told_and_can_be_left_out(tmp_path, capsys, monkeypatch):
    steps, real = iter(range(1, 99)), StudentStep.training_loss
    broken = {2}

    def training_loss(self, batch, generator):
        loss, terms = real(self, batch, generator)
        return loss * (math.nan if next(steps) in broken else 1), terms

    monkeypatch.setattr(StudentStep, "training_loss", training_loss)
    assert run(tmp_path / "nan", *WORLDS, "loop.steps=3") == 0
    (event,) = entries(tmp_path / "nan", "skipped")
    assert event["step"] == 2
    assert [name.split(":")[0][:-1] for name in event["batch"][0]["samples"]] == ["procedural world "] * 2
    assert "loop.skip_steps=[2]" in capsys.readouterr().out

    broken.clear()
    assert run(tmp_path / "left out", *WORLDS, "loop.steps=3", "loop.skip_steps=[2]") == 0
    ours, theirs = (load_weights(tmp_path / n / "checkpoints/step_00000003") for n in ("nan", "left out"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    broken.update(range(99))
    assert run(tmp_path / "all", *WORLDS, "loop.steps=9", "loop.guard.skips_in_row=2") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: diverged at step 2: the loss is not finite (nan), for 2 steps on end")
    assert "Samples: procedural world" in error


def test_two_processes_without_torchrun_end_with_75_and_resume(tmp_path):
    """As srun starts them: the scheduler sees their own exit status, and may send its signal to one alone."""
    command = [sys.executable, "-m", "geometry", "train", *WORLDS, "loop.parallel.strategy=fsdp"]

    def start(steps):
        ranks = [{"RANK": str(i), "LOCAL_RANK": str(i), "WORLD_SIZE": "2"} for i in range(2)]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29000 + os.getpid() % 1000)}
        common = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **place}
        return [
            subprocess.Popen(
                [*command, f"out={tmp_path}", f"loop.steps={steps}"],
                cwd=ROOT,
                env={**common, **rank},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in ranks
        ]

    processes = start(100_000)
    for _ in range(2000):
        if (tmp_path / "log.jsonl").exists() and entries(tmp_path, "train"):
            break
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGUSR1)
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [INTERRUPTED] * 2, said
    done = max(e["step"] for e in entries(tmp_path, "train"))
    assert f"interrupted at step {done} of 100000" in said[0]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [f"step_{done:08d}"]
    # One process takes over; the sampler's batch does not depend on their number.
    again = subprocess.run(
        [*command, f"out={tmp_path}", f"loop.steps={done + 1}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert again.returncode == 0, again.stderr
    assert (
        "resuming on 1 processes (1 parts a step) what 2 trained (2 parts): the same samples" in again.stderr
    )


def test_a_second_run_in_a_folder_is_refused_and_told_of_the_first(tmp_path, capsys):
    script = (
        "import pathlib, sys, contextlib\nfrom geometry.engine.lock import lock_folder\n"
        "with contextlib.ExitStack() as held:\n"
        "    lock_folder(pathlib.Path(sys.argv[1]), held); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout.readline() == "held\n"
        assert run(tmp_path, *WORLDS, "loop.steps=1") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(
            f"error: {tmp_path}: another run trains in this folder (process {first.pid} on "
        )
        assert not (tmp_path / "log.jsonl").exists()
        first.stdin.close()
    assert run(tmp_path, *WORLDS, "loop.steps=1") == 0


@pytest.fixture
def capture(tmp_path):
    """A capture of six photos with depth, in units of which a 16-bit sentinel is very many."""
    room = make_room(6)
    folder = write_capture(tmp_path / "data" / "room", room)
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "depth").mkdir()
    for frame in content["frames"]:
        i = int(frame["file_path"].removesuffix(".png").rsplit("_", 1)[1]) - 1
        frame["depth_file_path"] = f"depth/{i}.png"
        Image.fromarray((room[i].depth * 5).round().astype(np.uint16)).save(folder / f"depth/{i}.png")
    (folder / "transforms.json").write_text(json.dumps({**content, "depth_unit_scale_factor": 0.2}))
    return folder


def test_a_broken_photo_among_many_is_counted_and_a_broken_set_stops(tmp_path, capture, capsys):
    data = f"data.dataset.mixture.parts.one.source.root={capture.parent}"
    photo = capture / "images/frame_2.png"
    photo.write_bytes(photo.read_bytes()[:600])
    assert run(tmp_path / "photo", *CAPTURE, data, "loop.steps=6") == 0
    last = entries(tmp_path / "photo", "train")[-1]
    assert last["damage"]["one"]["samples"] == 6
    assert last["damage"]["one"]["photos_left_out"] >= 1
    assert "one: photos left out: " in capsys.readouterr().out

    for name in "abcd":
        for broken in (write_capture(tmp_path / "data" / name, make_room(3)) / "images").iterdir():
            broken.write_bytes(broken.read_bytes()[:600])
    assert run(tmp_path / "set", *CAPTURE, data, "loop.steps=99") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "one: expected at most 10% of its draws to meet a scene that cannot be used" in error
    assert "expected a whole image, got a damaged or truncated one" in error


def test_a_sky_sentinel_in_a_corner_changes_no_loss(tmp_path, capture, capsys):
    data = f"data.dataset.mixture.parts.one.source.root={capture.parent}"
    for name, value in (("unmeasured", 0), ("sentinel", 65535)):
        for path in (capture / "depth").iterdir():
            depth = np.asarray(Image.open(path)).copy()
            depth[:15, :20] = value
            Image.fromarray(depth).save(path)
        assert run(tmp_path / name, *CAPTURE, data, "loop.steps=2") == 0
    unmeasured, sentinel = (entries(tmp_path / n, "train") for n in ("unmeasured", "sentinel"))
    assert [e["loss"] for e in unmeasured] == [e["loss"] for e in sentinel]
    assert "damage" not in unmeasured[-1]
    assert sentinel[-1]["damage"]["one"]["far_depth"] == 2
    assert "one: far depth: room: " in capsys.readouterr().out


def test_a_resume_in_other_parts_says_what_follows(tmp_path):
    assert run(tmp_path, *WORLDS, "loop.steps=1") == 0
    with pytest.warns(UserWarning, match=r"\(2 parts a step\) what 1 trained \(1 parts\): the same samples"):
        assert run(tmp_path, *WORLDS, "loop.steps=2", "loop.accumulate=2") == 0

"""`geometry train` where things go wrong: NaN, preemption, a second run, damaged photos, another cut."""

import json
import math
import resource
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from programs import Program, ranks
from scenes import make_room, write_capture

from geometry.commands import train
from geometry.engine import INTERRUPTED, load_weights
from geometry.engine.checkpoint import list_checkpoints
from geometry.training.student import StudentStep

pytestmark = pytest.mark.extended  # whole runs, seconds each

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
    out = tmp_path / "run"
    command = ["-m", "geometry", "train", *WORLDS, "loop.parallel.strategy=fsdp", f"out={out}"]
    first, second = ranks(2, [*command, "loop.steps=100000"], tmp_path)
    first.wait_for(lambda: (out / "log.jsonl").exists() and entries(out, "train"))
    second.send_signal(signal.SIGUSR1)
    assert [first.wait(), second.wait()] == [INTERRUPTED] * 2, first.said + second.said
    done = max(e["step"] for e in entries(out, "train"))
    assert f"interrupted at step {done} of 100000" in first.said
    assert [p.name for p in (out / "checkpoints").iterdir()] == [f"step_{done:08d}"]
    # One process takes over; the sampler's batch does not depend on their number.
    again = Program([*command, f"loop.steps={done + 1}"], tmp_path / "again.txt")
    assert again.wait() == 0, again.said
    assert "resuming on 1 processes (1 parts a step) what 2 trained (2 parts): the same samples" in again.said


def test_a_full_disk_costs_a_checkpoint_and_is_told(tmp_path, monkeypatch):
    """By a limit on the size of files, which fails as a full disk does: in the middle of a write."""
    steps, real = iter(range(1, 99)), StudentStep.training_loss

    def training_loss(self, batch, generator):
        if (step := next(steps)) in (2, 3):
            soft = 2_000_000 if step == 2 else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        return real(self, batch, generator)

    monkeypatch.setattr(StudentStep, "training_loss", training_loss)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        options = ["loop.saving.every=1", "loop.saving.behind=false", "loop.saving.keep_last=3"]
        with pytest.warns(UserWarning, match=r"step 2 could not be saved: .*; training goes on"):
            assert run(tmp_path, *WORLDS, *options, "loop.steps=3") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000001", "step_00000003"]
    assert [e["step"] for e in entries(tmp_path, "train")] == [1, 2, 3]


def test_a_second_run_in_a_folder_is_refused_and_told_of_the_first(tmp_path, capsys):
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(
        "import pathlib, sys, contextlib, time\nfrom geometry.engine.lock import lock_folder\n"
        "with contextlib.ExitStack() as held:\n"
        "    lock_folder(pathlib.Path(sys.argv[1]), held); print('held', flush=True); time.sleep(600)"
    )
    first = Program([script, out], tmp_path / "said.txt")
    first.wait_for(lambda: "held" in first.said)
    assert run(out, *WORLDS, "loop.steps=1") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {out}: another run trains in this folder (process {first.pid} on ")
    assert not (out / "log.jsonl").exists()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert run(out, *WORLDS, "loop.steps=1") == 0


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

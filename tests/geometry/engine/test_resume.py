"""A run that is killed at any moment goes on exactly as if it had not been."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import toy
from programs import Program

from geometry.engine import (
    INTERRUPTED,
    DataStream,
    FixedBatchSampler,
    Saving,
    Schedule,
    TokenBudgetSampler,
    load_weights,
)
from geometry.engine.checkpoint import list_checkpoints
from geometry.errors import InputError


def start(out: Path, **options) -> Program:
    return Program([toy.__file__, out, json.dumps(options)], out.with_name(f"{out.name} said"))


def wait_for_step(out: Path, step: int, program: Program) -> None:
    log = out / "log.jsonl"
    program.wait_for(lambda: log.exists() and f'"step": {step},' in log.read_text())


@pytest.mark.extended
def test_after_kill_9_the_losses_are_those_of_an_unbroken_run(tmp_path):
    toy.train(tmp_path / "unbroken", steps=24, dropout=0.2, noise=0.1)
    program = start(tmp_path / "killed", steps=24, dropout=0.2, noise=0.1, pause_s=0.05, workers=1)
    wait_for_step(tmp_path / "killed", 13, program)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert max(toy.losses(tmp_path / "killed")) < 24

    result = toy.train(tmp_path / "killed", steps=24, dropout=0.2, noise=0.1)
    assert result.finished
    assert toy.losses(tmp_path / "killed") == toy.losses(tmp_path / "unbroken")  # to the bit
    for averaged in (False, True):
        ours = load_weights(result.checkpoint, averaged=averaged)
        theirs = load_weights(tmp_path / "unbroken/checkpoints/step_00000024", averaged=averaged)
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs)


@pytest.mark.extended
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path, number):
    program = start(tmp_path, steps=1000, pause_s=0.02, every=1000, workers=1)
    wait_for_step(tmp_path, 5, program)
    os.killpg(program.pid, number)  # the loader's worker, and its fork server, get it as well
    assert program.wait() == INTERRUPTED == 75
    assert "interrupted at step" in program.said
    assert "same command" in program.said
    (checkpoint,) = list_checkpoints(tmp_path / "checkpoints")
    assert checkpoint.name == f"step_{max(toy.losses(tmp_path)):08d}"


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path):
    program = start(tmp_path, steps=1000, pause_s=3.0, every=1000)
    wait_for_step(tmp_path, 1, program)
    program.send_signal(signal.SIGINT)
    time.sleep(0.8)
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=2) == 130
    assert not list_checkpoints(tmp_path / "checkpoints")


def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    toy.train(tmp_path / "unbroken", steps=20, dropout=0.2, schedule=Schedule(kind="constant"))
    toy.train(tmp_path / "cut", steps=15, dropout=0.2, schedule=Schedule(kind="constant"))
    newest = list_checkpoints(tmp_path / "cut/checkpoints")[-1]
    os.truncate(newest / "training.pt", 1000)
    with pytest.warns(UserWarning, match=r"step_00000015: training.pt has 1000 bytes, expected \d+"):
        toy.train(tmp_path / "cut", steps=20, dropout=0.2, schedule=Schedule(kind="constant"))
    assert toy.losses(tmp_path / "cut") == toy.losses(tmp_path / "unbroken")


def test_logging_intervals_do_not_notice_the_resume(tmp_path):
    """Saved in the middle of an interval, whose mean must still be over all its steps."""
    constant = Schedule(kind="constant")
    toy.train(tmp_path / "a", steps=12, log_every=4, schedule=constant)
    toy.train(tmp_path / "b", steps=6, every=3, log_every=4, schedule=constant)
    # The end of a run always reports and closes its interval; a kill at step 3 does not.
    for path in list_checkpoints(tmp_path / "b/checkpoints")[1:]:
        path.rename(path.with_suffix(".gone"))
    toy.train(tmp_path / "b", steps=12, log_every=4, schedule=constant)
    assert toy.losses(tmp_path / "a") == toy.losses(tmp_path / "b")


def test_a_resume_refuses_other_frozen_weights(tmp_path):
    toy.train(tmp_path, steps=5)
    step = toy.ToyStep()
    with torch.no_grad():
        step.model.body.weight[0, 0] += 1e-6
    with pytest.raises(InputError, match="frozen weights are not those"):
        toy.train(tmp_path, steps=10, step=step)


def test_a_resume_refuses_another_way_of_saving(tmp_path):
    toy.train(tmp_path, steps=5)
    with pytest.raises(InputError, match="save_frozen=False: keep it"):
        toy.train(tmp_path, steps=10, saving=Saving(save_frozen=True))


def test_the_step_is_told_its_place_also_after_a_resume(tmp_path):
    places = []

    class Placed(toy.ToyStep):
        def begin_step(self, index, steps):
            places.append((index, steps))

    toy.train(tmp_path, step=Placed(), steps=2)
    toy.train(tmp_path, step=Placed(), steps=4)
    assert places == [(0, 2), (1, 2), (2, 4), (3, 4)]


def test_a_resume_refuses_other_trained_parameters(tmp_path):
    toy.train(tmp_path, steps=5)
    step = toy.ToyStep()
    step.model.norm = torch.nn.LayerNorm(8, bias=False)
    with pytest.raises(InputError, match="only in the checkpoint"):
        toy.train(tmp_path, steps=10, step=step)


def test_a_resume_refuses_another_seed_and_reports_other_config(tmp_path):
    toy.train(tmp_path, steps=5, config={"optimizer": {"lr": 0.01}})
    with pytest.raises(InputError, match="seed 0, this run has seed 1"):
        toy.train(tmp_path, steps=10, seed=1)
    with pytest.warns(UserWarning, match=r"changed config: optimizer.lr: 0.01 -> 0.02"):
        toy.train(tmp_path, steps=10, config={"optimizer": {"lr": 0.02}})
    with pytest.raises(InputError, match="holds checkpoints already"):
        toy.train(tmp_path, steps=10, resume=False)


def test_a_validation_left_out_by_an_interruption_is_made_up_for(tmp_path):
    class Stopped(toy.ToyStep):
        def begin_step(self, index, steps):
            if index == 9:
                os.kill(os.getpid(), signal.SIGUSR2)

    stopped = toy.train(tmp_path, step=Stopped())
    assert (stopped.finished, stopped.step, stopped.metrics) == (False, 10, {})
    toy.train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in lines if e["kind"] == "validation"] == [10, 20]


def test_a_folder_has_one_run_at_a_time(tmp_path):
    program = start(tmp_path, steps=1000, pause_s=0.02)
    wait_for_step(tmp_path, 2, program)
    logged = (tmp_path / "log.jsonl").stat().st_ino
    with pytest.raises(InputError, match=rf"another run trains in this folder \(process {program.pid} on "):
        toy.train(tmp_path)
    assert program.poll() is None
    assert (tmp_path / "log.jsonl").stat().st_ino == logged  # not replaced under it
    program.send_signal(signal.SIGKILL)
    program.wait()
    toy.train(tmp_path, steps=max(toy.losses(tmp_path)))  # a dead run holds nothing


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (FixedBatchSampler(batch_size=8), "the same samples follow"),
        (
            TokenBudgetSampler(tokens=7, image_sizes=[[14, 14]], views=[1, 1]),
            r"other samples follow.*\(step 6 begins with sample 30 of the run, not 35\)",
        ),
        (
            TokenBudgetSampler(tokens=7, image_sizes=[[14, 14]], views=[1, 1], batch_multiple=2),
            "the same samples follow",
        ),
    ],
    ids=["fixed", "tokens", "multiple"],
)
def test_another_cut_says_which_samples_follow(tmp_path, sampler, said):
    data = DataStream(toy.Points(), sampler)
    toy.train(tmp_path, steps=5, data=data)
    with pytest.warns(UserWarning, match=rf"resuming on 1 processes \(2 parts a step\).*: {said}"):
        toy.train(tmp_path, steps=6, data=data, accumulate=2)

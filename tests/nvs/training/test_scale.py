"""Two processes against one, sharded or not; and a run that was killed."""

import json
import signal
from pathlib import Path

import head_runs
import pytest
from programs import Program, run_ranks

pytestmark = pytest.mark.extended  # whole runs, seconds each

RUNS = {
    "ddp": {"posed": 0.5},
    "fsdp": {"strategy": "fsdp", "posed": 0.5},
    "unfrozen": {"factors": {"head": 1.0, "network": 0.1}, "posed": 0.5},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Folder with the results of RUNS on two processes."""
    out = tmp_path_factory.mktemp("two")
    run_ranks(2, [head_runs.__file__, out, json.dumps(RUNS)], out)
    return out


@pytest.mark.parametrize("name", list(RUNS))
def test_first_losses_are_those_of_one_process(two, tmp_path, name):
    options = {k: v for k, v in RUNS[name].items() if k != "strategy"}
    head_runs.train(tmp_path, accumulate=2, **options)
    ours, theirs = head_runs.losses(two / name), head_runs.losses(tmp_path)
    assert list(ours) == list(theirs) == [1, 2, 3, 4]
    assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-4)


def test_after_kill_9_the_losses_are_those_of_an_unbroken_run(tmp_path):
    options = {"posed": 0.5, "steps": 6, "batch_size": 1, "validate_every": 3}
    runs = json.dumps({"killed": {**options, "pause_s": 0.2}})
    program, log = (
        Program([head_runs.__file__, tmp_path, runs], tmp_path / "said"),
        tmp_path / "killed/log.jsonl",
    )
    program.wait_for(lambda: log.exists() and '"step": 3,' in log.read_text())
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert max(head_runs.losses(tmp_path / "killed")) < 6

    head_runs.train(tmp_path / "killed", **options)
    head_runs.train(tmp_path / "unbroken", **options)
    assert head_runs.losses(tmp_path / "killed") == head_runs.losses(tmp_path / "unbroken")  # to the bit

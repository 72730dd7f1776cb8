"""Two processes against one, sharded or not; and a run that was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import head_runs
import pytest

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
RUNS = {
    "ddp": {"posed": 0.5},
    "fsdp": {"strategy": "fsdp", "posed": 0.5},
    "unfrozen": {"factors": {"head": 1.0, "network": 0.1}, "posed": 0.5},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Folder with the results of RUNS on two processes."""
    out = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, head_runs.__file__, str(out), json.dumps(RUNS)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
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
    run = [
        sys.executable,
        head_runs.__file__,
        str(tmp_path),
        json.dumps({"killed": {**options, "pause_s": 0.2}}),
    ]
    process = subprocess.Popen(run, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    log = tmp_path / "killed/log.jsonl"
    for _ in range(6000):
        if log.exists() and '"step": 3,' in log.read_text():
            break
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert max(head_runs.losses(tmp_path / "killed")) < 6

    head_runs.train(tmp_path / "killed", **options)
    head_runs.train(tmp_path / "unbroken", **options)
    assert head_runs.losses(tmp_path / "killed") == head_runs.losses(tmp_path / "unbroken")  # to the bit

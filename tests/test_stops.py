"""Commands that are stopped at random moments: kill -9, Ctrl-C, a full disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TIMES = int(os.environ.get("STOPS", "50"))  # of each kind


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", ["kill", "interrupt", "disk"])
@pytest.mark.parametrize("command", ["render", "infer", "finetune", "eval"])
def test_what_a_stopped_run_leaves(command, how, tmp_path):
    words = [sys.executable, HERE / "stopped_runs.py", command, how, str(TIMES), "0", tmp_path / "work"]
    path = os.pathsep.join((str(HERE.parent), str(HERE)))
    done = subprocess.run(
        words,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in found:
        pytest.skip(found["skipped"])
    print(command, how, found["ends"])
    assert found["wrong"] == []

"""What the tests of Gaussian-head training share: a small scene with cameras, and a step on it."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # so that `import head_runs` works here and in subprocesses
os.environ.setdefault("NUMBA_NUM_THREADS", "2")


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors on a busy machine: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

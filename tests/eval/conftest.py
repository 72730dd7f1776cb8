"""What the benchmark's tests share: miniature captures, one thread, no LPIPS trunk."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # test modules import benchmark_data by name

from benchmark_data import make_views, write_capture


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors on a busy machine: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def views():
    return make_views()


@pytest.fixture(scope="session")
def capture(tmp_path_factory, views):
    """One capture of 10 photos, read-only."""
    return write_capture(tmp_path_factory.mktemp("data") / "room", views)


@pytest.fixture
def captures(tmp_path):
    """A folder of three captures."""
    root = tmp_path / "captures"
    for name, seed in (("kitchen", 1), ("hall", 2), ("attic", 3)):
        write_capture(root / name, make_views(9, seed=seed))
    return root


@pytest.fixture(autouse=True)
def no_trunks(tmp_path, monkeypatch):
    """LPIPS finds no trunk, whatever this machine has."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))

"""What the benchmark's tests share: miniature captures, no LPIPS trunk."""

import pytest
from scenes import make_arc, write_capture


@pytest.fixture(scope="session")
def views():
    return make_arc()


@pytest.fixture(scope="session")
def capture(tmp_path_factory, views):
    """One capture of 10 photos, read-only."""
    return write_capture(tmp_path_factory.mktemp("data") / "room", views)


@pytest.fixture
def captures(tmp_path):
    """A folder of three captures."""
    root = tmp_path / "captures"
    for name, seed in (("kitchen", 1), ("hall", 2), ("attic", 3)):
        write_capture(root / name, make_arc(9, seed=seed))
    return root


@pytest.fixture(autouse=True)
def no_trunks(tmp_path, monkeypatch):
    """LPIPS finds no trunk, whatever this machine has."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))

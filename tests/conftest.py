"""Shared fixtures: where the referees lie, and a generator per test."""

import os
import sys
from pathlib import Path

# Before torch is imported, here and in subprocesses of tests: small tensors gain nothing from threads, and
# several test processes on one machine would wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find pretended_cuda

SHARED = Path(os.environ.get("SHARED_DIR", Path(__file__).resolve().parents[2] / "shared"))


def shared_folder(name: str) -> Path:
    """A folder of the shared files beside the checkout; without it skips, or fails under REQUIRE_GOLDEN=1."""
    folder = SHARED / name
    if not folder.is_dir():
        message = f"{folder} is absent: these checks need the shared files beside the checkout"
        if os.environ.get("REQUIRE_GOLDEN") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Numbers of the released networks."""
    return shared_folder("golden")


@pytest.fixture(scope="session")
def keys_dir() -> Path:
    """Names and shapes of the released checkpoints."""
    return shared_folder("spec/keys")


@pytest.fixture(scope="session")
def captures_dir() -> Path:
    """Real captures with checked cameras: test input only."""
    return shared_folder("data")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)

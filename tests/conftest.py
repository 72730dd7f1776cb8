"""Shared fixtures: shapes checked at every call, where stored numbers lie, and a generator per test."""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

# Before torch is imported, here and in subprocesses of tests: small tensors gain nothing from threads, and
# several test processes on one machine would wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
import torch

os.fsync = lambda file: None  # what tests write need not outlive a failure of power

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))  # so that tests find pretended_cuda and scenes

SHARED = Path(os.environ.get("SHARED_DIR", TESTS.parents[1] / "shared"))


class Unshaped(MetaPathFinder):
    """Modules that annotate no shapes are imported as they are, and numba's, whose kernels cannot be wrapped.

    A check costs a tenth of a millisecond: in all modules, a third of the suite's time.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in ("geometry", "nvs", "eval"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        text = Path(spec.origin).read_text()
        kernels = "\nfrom numba" in text or "\nfrom geometry.compiled" in text
        return None if "\nfrom jaxtyping import" in text and not kernels else spec


# Annotated shapes and types hold at every call of our functions, or the test that makes the call fails.
jaxtyping.install_import_hook(("geometry", "nvs", "eval"), "shape_checks.when_called")
sys.meta_path.insert(0, Unshaped())


def shared_folder(name: str) -> Path:
    """A folder of shared files beside the checkout; skips where it is absent."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: this check needs the shared files beside the checkout")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Numbers of the released networks."""
    return TESTS / "golden/data"


@pytest.fixture(scope="session")
def keys_dir() -> Path:
    """Names and shapes of the released checkpoints."""
    return shared_folder("spec/keys")


@pytest.fixture(scope="session")
def captures_dir() -> Path:
    """Real captures with checked cameras: test input only."""
    return shared_folder("data")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Whatever an experiment set before: sums in one order repeat, and nothing waits for threads."""
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked(monkeypatch) -> None:
    """Types go unchecked: wrong ones meet our own errors, and torch.compile need not trace the checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

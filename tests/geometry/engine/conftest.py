"""The toy task lies beside the tests and is also run as a script."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
sys.modules["toy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["toy"])


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in the same order in every process, so that losses can be compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

"""The miniature world lies beside the tests; test modules import it by name."""

import importlib.util
import sys
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("miniature", Path(__file__).with_name("miniature.py"))
sys.modules["miniature"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["miniature"])


@pytest.fixture(scope="session")
def room():
    """Three views of a textured room with exact depth and cameras."""
    return sys.modules["miniature"].make_room()

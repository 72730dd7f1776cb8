"""The toy task lies beside the tests and is also run as a script."""

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
sys.modules["toy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["toy"])

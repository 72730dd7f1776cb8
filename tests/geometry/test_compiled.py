import numba
import numpy as np

from geometry import compiled
from geometry.console import listening


def _double(values):
    values *= 2


def test_compilation_is_said_once_and_a_cached_kernel_is_not_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # read again where it changed
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    lines = []
    for _ in range(2):
        monkeypatch.setattr(compiled.notice, "given", False)
        kernel = compiled.compiled(_double)
        with listening(lines.append):
            kernel(np.ones(3, np.float32))
            kernel(np.ones(3, np.int32))
    assert lines == ["compiling kernels: seconds, once on this machine"]

"""gsplat's own PyTorch functions, loaded without importing gsplat.

Importing the package is not safe without CUDA: 1.5.3 starts its compiler at the first touch of the
kernels wherever nvcc is on the machine, 1.6 already on import. The file with the PyTorch functions
needs nothing but torch, so it is loaded alone.
"""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def gsplat_functions() -> ModuleType:
    """The module ``gsplat/cuda/_torch_impl.py``.

    Raises:
        ImportError: gsplat is not installed or has no such file.
    """
    package = importlib.util.find_spec("gsplat")
    if package is None or package.origin is None:
        raise ImportError("the PyTorch rasterizer is built on gsplat's functions: pip install gsplat==1.5.3")
    path = Path(package.origin).parent / "cuda" / "_torch_impl.py"
    if not path.is_file():
        raise ImportError(f"{path} is absent: this gsplat is not 1.5.3. pip install gsplat==1.5.3")
    spec = importlib.util.spec_from_file_location("nvs.rasterizer._gsplat_torch_impl", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

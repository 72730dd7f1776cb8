"""What is loaded when: public names at their first use, and zlib before pycolmap, which would break it."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

_CHECK = "import pycolmap, zlib; zlib.compress(bytes(100_000))"


def load_zlib_first() -> None:
    """Load zlib now, so that pycolmap cannot; refuse to go on where it has, and PNG files would crash.

    pycolmap 4.2 for Linux exports a zlib of its own. If it is what loads the system's libz.so.1, that binds
    half of its calls to pycolmap's, for good: the next PNG, npz or gzip corrupts memory.

    Raises:
        ImportError: it has happened.
    """
    first = next((name for name in sys.modules if name in ("zlib", "pycolmap._core")), None)
    if first == "pycolmap._core" and sys.platform == "linux" and _breaks():
        raise ImportError(
            "pycolmap was imported before zlib, which crashes this process at the next PNG file: import "
            "geometry, nvs or zlib first, then pycolmap"
        )
    import zlib  # noqa: F401


def _breaks() -> bool:
    """Whether this version of pycolmap does that, tried in a process of its own."""
    import subprocess

    try:
        return subprocess.run([sys.executable, "-c", _CHECK], capture_output=True, timeout=30).returncode < 0
    except (OSError, subprocess.TimeoutExpired) as error:
        return isinstance(error, subprocess.TimeoutExpired)


def lazy_names(
    package: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names are imported when they are first used.

    Args:
        package: its ``globals()``.
        homes: the module of each name.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = value = getattr(importlib.import_module(homes[name]), name)
        return value

    return get, lambda: sorted({*package, *homes})

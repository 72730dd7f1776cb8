"""pycolmap beside us, in either order: pictures are written, or one clear word, and never a crash."""

import importlib.util
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="needs pycolmap")
PICTURE = "import PIL.Image; PIL.Image.effect_noise((240, 180), 50).save({!r})"


@pytest.mark.parametrize("package", ["geometry", "nvs"])
@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_imports(tmp_path, package, first):
    names = (package, "pycolmap") if first else ("pycolmap", package)
    code = f"import {names[0]}, {names[1]}; " + PICTURE.format(str(tmp_path / "a.png"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if first or done.returncode == 0:  # another version of pycolmap may be harmless
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "a.png").is_file()
    else:
        assert done.stderr.splitlines()[-1].startswith("ImportError: pycolmap was imported before zlib")

"""The examples run as a reader would run them, in small."""

import json
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geometry.commands.make_capture import main as make_capture

pytestmark = pytest.mark.extended  # whole runs, seconds each

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: object) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"](*map(str, arguments))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, columns = np.mgrid[0:56, 0:70]
    for number in range(2):
        pixels = np.stack((rows * 4, columns * 3, (rows + columns + 9 * number) % 32 * 8), axis=-1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def test_depth_and_points(photos, tmp_path, capsys):
    run("depth_and_points.py", photos, tmp_path / "out", "tiny")
    assert (tmp_path / "out/points.ply").is_file()
    assert "0.png: depth" in capsys.readouterr().out


@pytest.mark.slow  # the sweep and network at their usual size
def test_novel_views(tmp_path):
    capture = ["--seed", 1, "--views", 4, "--size", 56, 84, "--out", tmp_path / "capture"]
    make_capture([*map(str, capture)])
    run("novel_views.py", tmp_path / "capture", tmp_path / "out", 2)
    assert (tmp_path / "out/scene.ply").is_file()
    assert Image.open(tmp_path / "out/7.png").getextrema() != ((0, 0), (0, 0), (0, 0))


def test_fit_gaussians_improves(photos, tmp_path, capsys):
    run("fit_gaussians.py", photos / "0.png", tmp_path / "fit.png", 50)
    first, last = (float(line.split()[3]) for line in capsys.readouterr().out.splitlines())
    assert last > first + 3
    assert Image.open(tmp_path / "fit.png").size == (128, 96)


@pytest.fixture
def capture(tmp_path):
    words = ["--seed", 1, "--views", 9, "--size", 56, 84, "--out", tmp_path / "capture"]
    make_capture([*map(str, words)])
    return tmp_path / "capture"


def test_own_backbone_trains(tmp_path, capsys):
    run("own_backbone.py", tmp_path / "run", 1)
    assert "trained: " in capsys.readouterr().out
    assert list((tmp_path / "run/checkpoints").iterdir())


def test_own_method_stands_in_the_table(capture, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    run("own_method.py", capture, tmp_path / "out")
    table = capsys.readouterr().out
    assert "| nearest context view |" in table
    assert "| own_method:blend |" in table


@pytest.mark.slow  # the sweep and network at their usual size
def test_finetune_writes_a_head_that_loads(capture, tmp_path, capsys):
    run("finetune.py", capture, tmp_path / "out", 1)
    assert "step 0: PSNR of the photos kept out" in capsys.readouterr().out


@pytest.mark.slow  # a rendering
def test_the_notebook_runs_and_holds_what_it_printed(monkeypatch):
    path = EXAMPLES / "quickstart.ipynb"
    assert path.stat().st_size < 1_000_000
    monkeypatch.chdir(EXAMPLES)
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == [*range(1, len(cells) + 1)]
    assert sum("image/jpeg" in o.get("data", {}) for c in cells for o in c["outputs"]) == 4
    names: dict = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
        if "steps" in names and "photos" not in names:
            names |= {"size": (56, 84), "steps": 1}


class Anything:
    """Stands for all of gradio: every call and `with` gives another one."""

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *_, **__):
        return Anything()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.slow  # a rendering
def test_the_hosted_demo_renders(capture, monkeypatch):
    gradio = types.SimpleNamespace(
        **{n: Anything() for n in ["Blocks", "Markdown", "Row", "Column", "File", "Radio"]}
    )
    for name in ("Button", "Video", "Textbox", "Image"):
        setattr(gradio, name, Anything())
    gradio.Error = RuntimeError
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    make = runpy.run_path(str(ROOT / "space/app.py"))["make"]
    with pytest.raises(RuntimeError, match="Give photos"):
        make(None, "draft")
    *files, words = make([str(path) for path in sorted((capture / "images").iterdir())[:3]], "draft")
    assert words
    assert all(Path(file).is_file() for file in files)

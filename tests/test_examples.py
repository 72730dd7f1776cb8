"""The examples run as a reader would run them, in small."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geometry.commands.make_capture import main as make_capture

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

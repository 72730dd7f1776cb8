"""The script of the paper's tables from miniatures in the sets' real layouts to the page of differences."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scenes import make_arc, write_dl3dv

from eval.run_folder import Store
from geometry.formats.text import read_object

HERE = Path(__file__).resolve()


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_from_layouts_to_differences(tmp_path, capsys, monkeypatch):
    script = load("reproduce_tables", HERE.parents[2] / "scripts/reproduce_tables.py")
    layouts = load("layouts", HERE.parents[1] / "eval/test_geometry_protocols.py")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    room, data = make_arc(6, size=layouts.SIZE), tmp_path / "data"
    for name in ("hiroom", "scannetpp", "dtu", "dtu64"):
        layouts.WRITERS[name](data / name, room)
    for name, (write, _) in layouts.SINGLE.items():
        write(data / name, room)
    write_dl3dv(data / "dl3dv", "ab" * 32, make_arc(20, size=(36, 64)))
    words = [*layouts.SMALL, "benchmark.size=[28,56]", "refine=0", "metrics=null"]
    arguments = ["tiny", "--data", str(data), "--out", str(tmp_path / "out"), "--size", "small", "--", *words]
    assert script.main(arguments) == 0
    page = (tmp_path / "out/tables.md").read_text()
    for number in ("2", "3", "4", "5"):
        assert f"## Table {number}" in page
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| hiroom")]
    (auc,) = [line for line in lines if line[2] == "AUC@30"]
    assert auc[4] == "75.2"
    assert float(auc[5]) == pytest.approx(float(auc[3]) - 75.2, abs=0.06)
    assert {line[1] for line in lines if line[2] == "F1"} == {"none", "given"}
    assert any(line.startswith("| dtu | given | Chamfer |") and "2.49" in line for line in page.splitlines())
    assert any(line.startswith("| dl3dv | given | PSNR |") for line in page.splitlines())
    assert "- eth3d: not below data/" in page
    assert "1 of 29" in page
    pose = Store(tmp_path / "out/tiny/geometry/hiroom", "pose").summary
    assert np.isfinite(read_object(pose, "a run")["means"]["auc30"])
    capsys.readouterr()
    assert script.main(arguments) == 0  # resumes
    assert "predicting" not in capsys.readouterr().err

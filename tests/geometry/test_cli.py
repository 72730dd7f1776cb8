"""What the commands share."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pretended_cuda import pretended_cuda

from eval.__main__ import main as eval_main
from geometry import __version__, version
from geometry.__main__ import SPINS
from geometry.__main__ import main as geometry_main
from geometry.device import pick_device
from geometry.errors import InputError
from geometry.version import commit
from nvs.__main__ import main as nvs_main

ROOT = Path(__file__).resolve().parents[2]


def test_a_device_is_the_cpu_or_a_cuda_one():
    assert str(pick_device("cpu")) == "cpu"
    with pretended_cuda():
        assert [str(pick_device(name)) for name in ("auto", "cuda", "cuda:0")] == ["cuda", "cuda", "cuda:0"]


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:", "cuda:x", "gpu"])
def test_other_devices_are_refused_in_one_short_line(name):
    with pytest.raises(InputError, match=f"expected cpu, cuda or cuda:N, got {name}; .*mps") as caught:
        pick_device(name)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("main", "program"), [(geometry_main, "geometry"), (nvs_main, "nvs"), (eval_main, "nvs-eval")]
)
def test_every_program_tells_its_version(main, program, capsys):
    assert main(["--version"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{program} {__version__}")
    assert (commit() or "") in said


@pytest.mark.parametrize(
    ("stated", "spins"),
    [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_commands_bound_how_long_threads_spin_before_torch_is_imported(stated, spins, tmp_path):
    """Beside other work refinement took six times as long without (docs/performance.md)."""
    (tmp_path / "told.py").write_text(
        "import os, sys\n"
        "def main(argv):\n"
        "    print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))\n"
    )
    code = "from geometry.__main__ import dispatch; dispatch('nvs', {'x': ('told', '')}, ['x'])"
    bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**bare, **stated, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["False", spins]


def test_a_commit_is_that_of_this_code_alone(tmp_path, monkeypatch):
    """Not that of a checkout in whose environment this is installed."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(version, "_ROOT", tmp_path / "lib")
    assert commit.__wrapped__() is None


def test_the_package_and_its_metadata_have_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "geometry.__version__"}
    assert project["project"]["scripts"].keys() == {"geometry", "nvs", "nvs-eval"}
    for package in ("geometry", "nvs", "eval"):
        assert "py.typed" in project["tool"]["setuptools"]["package-data"][package]
        assert (ROOT / package / "py.typed").is_file()

"""Composing experiments: found beside the code, and mistakes that are told with what comes near."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geometry.commands import train
from geometry.commands.arguments import experiments
from geometry.commands.configuration import compose
from geometry.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=geometry/nothing"], r"expected one of geometry/bundled, .*, got 'geometry/nothing'$"),
        (["experiment=geometry/smoek"], r"got 'geometry/smoek'; did you mean geometry/smoke\?$"),
        (["experiment=smoke"], r"did you mean geometry/smoke\?$"),
        (["experimnet=geometry/smoke"], r"experimnet: .* did you mean experiment\?$"),
        (["experiment=geometry/smoke", "loop.stesp=3"], r"did you mean loop\.steps\?$"),
        (["experiment=geometry/smoke", "lopp.steps=3"], r"did you mean loop\.steps\?$"),
        (["experiment=geometry/smoke", "a.b=1", "c=2"], r"a\.b: .* \+a\.b=\.\.\. adds it$"),
        (
            ["data=geometry_procedural", "data.sampler.tokens=9", "data.sampler.patch=1"],
            r"data\.sampler\.tokens: .* did you mean (?!data\.sampler\.tokens)",
        ),
        (["model=mono"], r"model: expected one of any_view, monocular, .*; did you mean monocular\?$"),
        (["loop.steps"], "Error parsing override"),
    ],
)
def test_a_mistake_is_one_line_with_what_comes_near(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        compose("train_geometry", overrides)
    assert "\n" not in str(caught.value)


def test_each_package_has_its_experiments(capsys):
    assert "geometry/smoke" in experiments("geometry")
    assert "nvs/smoke" in experiments("nvs")
    with pytest.raises(SystemExit):
        train.main(["--help"])
    said = "".join(capsys.readouterr().out.split())
    assert all(name in said for name in experiments("geometry"))
    with pytest.raises(InputError, match="did you mean nvs/smoke"):
        compose("train_nvs", ["experiment=geometry/smoke"])


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with packages `configs` and `eval` of its own, first on the path."""
    for name in ("configs", "eval"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported another package')\n")
    (tmp_path / "configs" / "train_geometry.yaml").write_text("a: 1\n")

    def run(code, *arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((".", str(ROOT)))}
        return subprocess.run(
            [sys.executable, "-c", f"import sys; {code}", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.extended
def test_other_folders_of_these_names_do_not_matter(elsewhere):
    """As the installed commands start: by the entry points of pyproject.toml."""
    done = elsewhere(
        "from geometry.__main__ import main; sys.exit(main())",
        "train", "--show", "experiment=geometry/smoke",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pose_probability" in done.stdout
    done = elsewhere("from geometry.__main__ import nvs_eval; sys.exit(nvs_eval())", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: nvs-eval")

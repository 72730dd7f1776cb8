"""Every script finds what it imports: the measuring scripts have no test of their own."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_finds_its_imports(script, monkeypatch):
    monkeypatch.syspath_prepend(str(script.parent))  # as Python does for a script
    found = runpy.run_path(str(script), run_name="imported")
    assert found.keys() & {"main", "on_files", "start"}  # or a hook of MkDocs, or what benchmarks share

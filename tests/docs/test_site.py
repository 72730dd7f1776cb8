"""Pages of the documentation site that are made from the code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import site

ROOT = Path(__file__).resolve().parents[2]


def test_every_command_is_there_with_its_options_and_what_they_do():
    page = site.commands()
    heads = re.findall(r"^## (.*)$", page, flags=re.M)
    assert {"geometry data prepare", "geometry export-onnx", "nvs render", "nvs-eval run"} <= {*heads}
    render = page.partition("## nvs render\n")[2].partition("\n## ")[0]
    (refine,) = re.findall(r"^\| `--refine STEPS` \| (.*) \|  \|$", render, flags=re.M)
    assert refine.startswith("optimise for STEPS steps")
    assert re.search(r"^\| `--out OUT` \| output folder \| required \|$", render, flags=re.M)
    assert "`--quality {draft,good,best}`" in render
    assert "### data prepare dl3dv" in page
    assert "usage: nvs-eval run" in page


def test_keys_of_a_file_have_the_words_of_its_comments_or_of_what_they_fill():
    text = """# About the file.
one: 1            # the first
                  # of them
# of the next
two: [1, 2]
rule:             # how views are divided
  _target_: eval.protocols.selection.Rule
  start: first
  every: 4        # stated here
"""
    keys = {key: (value, meaning) for key, value, meaning in site.config_keys(text)}
    assert keys["`one`"] == ("`1`", "the first of them")
    assert keys["`two`"] == ("`[1, 2]`", "")
    assert keys["`rule`"] == ("", "how views are divided")
    assert keys["`rule.every`"] == ("`4`", "stated here")
    assert keys["`rule.start`"][1].startswith("view nearest the mean camera centre")
    assert keys["`+rule.context`"] == ("`12`", "")  # an argument that the file leaves to the code


def test_every_key_says_what_it_means():
    sections = re.split(r"^## ", site.configuration(), flags=re.M)[1:]
    assert len(sections) == len(list((ROOT / "configs").rglob("*.yaml")))
    for section in sections:
        file = section.partition("\n")[0]
        unsaid = re.findall(r"^\| `([\w.+]+)` \| .* \|  \|$", section, flags=re.M)
        assert not unsaid, f"{file}: {unsaid}"


@pytest.mark.parametrize(
    ("place", "link", "made"),
    [
        ("README.md", "docs/api.md", "api.md"),
        ("README.md", "docs/images/a.jpg", "images/a.jpg"),
        ("docs/api.md", "../README.md#on-a-gpu", "start.md#on-a-gpu"),
        ("docs/api.md", "README.md#captures", "README.md#captures"),
        ("docs/README.md", "../examples/README.md", "examples.md"),
        ("examples/README.md", "../docs/api.md", "api.md"),
        ("docs/api.md", "#cameras", "#cameras"),
        ("docs/api.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_links_lead_to_the_sites_pages(place, link, made):
    assert site.linked(f"[a]({link})", place) == f"[a]({made})"


def test_the_notebook_becomes_a_page_with_its_pictures():
    notebook = json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    page, pictures = site.quickstart(notebook)
    assert page.startswith("# Quickstart")
    assert len(pictures) == page.count("![") >= 4
    assert all(data[:2] == b"\xff\xd8" for data in pictures.values())


@pytest.mark.slow  # half a minute
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert {"index.html", "start.html", "commands.html", "configuration.html", "reference.html"} <= pages

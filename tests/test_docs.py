"""What the documentation names is there: files, modules, links, options of commands."""

import importlib
import re
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from geometry.results import RENDERED

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
ROOMS = ["geometry", "nvs", "eval", "configs", "scripts", "tests", "docs", "examples", "space", ".github"]
# Pages that scripts/site.py makes; the strict build of the site checks links to them.
MADE = {"commands.md", "configuration.md", "reference.md", "licences.md", "quickstart.md"}
FOREIGN = "--standalone --nproc-per-node --nproc_per_node --nnodes --rdzv-backend --rdzv-endpoint --all-files"
FOREIGN_OPTIONS = {*FOREIGN.split(), "--requeue", "--signal", "--build-arg"}  # of torchrun, pre-commit, Slurm


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def alternatives(name: str) -> list[str]:
    """``a/{b,c}.yaml`` as its two names."""
    parts = re.split(r"\{([^}]*)\}", name)
    return ["".join(choice) for choice in product(*(part.split(",") for part in parts))]


@cache
def files() -> list[Path]:
    """All files of the project, relative to its root."""
    return [path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pages
def test_files_exist(page):
    named = set(re.findall(r"[\w.{},/-]*\w\.(?:py|sh|ya?ml)\b", text(page)))
    named |= {name for name in re.findall(r"`([\w./-]+/)`", text(page)) if name.split("/")[0] in ROOMS}
    for name in named:
        for path in map(Path, alternatives(name)):
            inside = path.parts[0] in ROOMS
            found = (ROOT / path).exists() if inside else any(file.match(str(path)) for file in files())
            assert found or "my_" in name or name.startswith("."), (
                f"{page.name} names {name}, which does not exist"
            )


@pages
def test_modules_and_their_names_exist(page):
    for name in set(
        re.findall(r"(?<![\w./])((?:geometry|nvs|eval)(?:\.\w+)+|nvs(?:\.\w+)+:\w+)", text(page))
    ):
        module, *rest = name.replace(":", ".").split(".")
        target = importlib.import_module(module)
        for part in rest:
            if hasattr(target, part):
                target = getattr(target, part)
            else:
                target = importlib.import_module(f"{target.__name__}.{part}")


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        if name in MADE:
            continue
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}: no such heading"


@pages
def test_options_exist(page):
    source = "\n".join(text(ROOT / file) for file in files() if file.suffix == ".py")
    for option in set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text(page))) - FOREIGN_OPTIONS:
        assert f'"{option}"' in source, f"{page.name} names {option}, which no command has"


def test_the_list_of_outputs_is_the_one_that_the_command_prints():
    rows = re.findall(
        r"^\| `([^`]+)` \| (.*) \|$", text(ROOT / "docs/files.md").split("`scene.json`, beside")[0], re.M
    )
    printed = [(p if "*" not in p else p.rpartition("/")[0] + "/", what) for p, what in RENDERED.items()]
    assert rows == printed

"""Pages of the documentation site that are made from the code, and the links of the others (MkDocs hook).

`make docs` builds the site. Commands come from their parsers, configuration keys from `configs/` and the
signatures that they fill, the Python reference from docstrings, licences from the tables in the code, and the
quickstart from its notebook: none can go stale. Pages outside `docs/` (README.md, ...) are taken in.
"""

import argparse
import base64
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PROGRAMS = {"geometry": "geometry.__main__", "nvs": "nvs.__main__", "nvs-eval": "eval.__main__"}
OUTSIDE = {  # file -> page
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
}
MODULES = (
    "geometry.views geometry.options nvs.options nvs.cameras nvs.rasterizer.settings eval.options eval.run"
)


def commands() -> str:
    """Every command of the three programs: what it does, and its options in tables."""
    parts = ["# Commands", "`COMMAND --help` prints the same. `PROGRAM --version` tells version and commit."]
    for program, module in PROGRAMS.items():
        for name, (home, text) in _leaves(importlib.import_module(module).COMMANDS):
            parts += [f"## {program} {name}", text[0].upper() + text[1:] + "."]
            home = importlib.import_module(home)
            if hasattr(home, "parser"):
                parts += _options(home.parser())
            else:
                keys = "Keys: [configuration](configuration.md#evalyaml)."
                parts += [f"```text\n{home.USAGE}\n```", keys]
    return "\n\n".join(parts) + "\n"


def _leaves(commands: dict[str, tuple[str, str]], prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    for name, (home, text) in commands.items():
        module = importlib.import_module(home)
        if hasattr(module, "COMMANDS"):
            yield from _leaves(module.COMMANDS, f"{prefix}{name} ")
        else:
            yield prefix + name, (home, text)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    formatter = parser._get_formatter()
    usage = parser.format_usage().removeprefix("usage: ").strip()
    parts = [_text(parser.description or ""), f"```text\n{usage}\n```"]
    for group in parser._action_groups:
        rows = []
        for action in group._group_actions:
            if isinstance(action, argparse._HelpAction):
                continue
            if isinstance(action, argparse._SubParsersAction):
                for name, sub in action.choices.items():
                    parts += [f"### {parser.prog.partition(' ')[2]} {name}", *_options(sub)]
                continue
            words = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
            if action.option_strings:
                shown = f"{', '.join(action.option_strings)} {words}".strip()
            else:
                shown = formatter._metavar_formatter(action, action.dest)(1)[0]
            help_text = formatter._expand_help(action) if action.help else ""
            rows.append((f"`{shown}`", _text(help_text), "required" if action.required else ""))
        if rows:
            title = {"positional arguments": "what is given", "options": "options"}.get(
                group.title, group.title
            )
            parts.append(_table((title, "", ""), rows))
    return [*parts, *([_text(parser.epilog)] if parser.epilog else [])]


def configuration() -> str:
    """Every file under `configs/`, and every key in it."""
    parts = [
        "# Configuration",
        "`geometry train`, `nvs train` and `nvs-eval` compose these files (Hydra): `group=choice` takes "
        "another file of a folder, `path.to.key=value` another value. `--show`, and `--cfg` of "
        "`nvs-eval run`, print the whole of it. A key `_target_` names what the keys beside it are the "
        "arguments of; arguments that no file states have the value that the code gives them, and can be "
        "set as `+path.to.key=value`.",
    ]
    files = sorted((ROOT / "configs").rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    pages = {file: list(config_keys(file.read_text(encoding="utf-8"))) for file in files}
    said = {}  # what a key means stands in the file of its group that says it first; experiments set it again
    for file, keys in pages.items():
        group = ".".join(file.relative_to(ROOT / "configs").parts[:-1])
        package = "" if group.startswith(("experiment", "ablation")) or not group else f"{group}."
        for key, _, meaning in keys:
            if meaning:
                said.setdefault(package + key.strip("`+"), meaning)
    for file, keys in pages.items():
        head = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))[0]
        about = " ".join(line.lstrip("# ") for line in head.splitlines() if "@package" not in line)
        name = file.relative_to(ROOT / "configs")
        groups = ("", *(f"{'.'.join(name.parts[:n])}." for n in range(1, len(name.parts))))
        rows = []
        for key, value, meaning in keys:
            known = (said[g + key.strip("`+")] for g in groups if g + key.strip("`+") in said)
            rows.append((key, value, meaning or next(known, "")))
        parts += [f"## {name.as_posix()}", _text(about), _table(("key", "value", ""), rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def config_keys(text: str) -> Iterator[tuple[str, str, str]]:
    """(dotted key, value, meaning) of a YAML file: a comment, else the target's docstring."""
    lines = text.splitlines()
    yield from _keys(yaml.compose(text), lines, "") if yaml.safe_load(text) else ()


def _keys(node: yaml.Node, lines: list[str], prefix: str) -> Iterator[tuple[str, str, str]]:
    pairs = {key.value: (key, value) for key, value in node.value}
    meanings, unsaid = {}, {}
    if "_target_" in pairs:
        meanings, unsaid = _parameters(pairs["_target_"][1].value)
    for name, (key, value) in pairs.items():
        comment = _comment(lines, key, value)
        if name == "<<":  # what stands above under another name
            continue
        if isinstance(value, yaml.MappingNode) and value.value:
            if comment and not value.flow_style:
                yield f"`{prefix}{name}`", "", _text(comment)
            yield from _keys(value, lines, f"{prefix}{name}.")
            continue
        a, b = value.start_mark, value.end_mark
        shown = " ".join(
            " ".join([*lines[a.line : b.line], lines[b.line][: b.column] if b.column else ""])[
                a.column :
            ].split()
        )
        shown = re.sub(r"\s+#.*", "", shown)
        meaning = (
            comment
            or meanings.get(name, "")
            or (prefix + name == "defaults" and "the files this one starts from")
        )
        if not meaning and (of := re.fullmatch(r"\$\{([\w.]+)\}", shown)):
            meaning = f"what `{of[1]}` is"
        yield f"`{prefix}{name}`", f"`{shown}`", _text(meaning or "")
    for name, default in unsaid.items():
        if name not in pairs:
            yield f"`+{prefix}{name}`", f"`{default}`" if default != "" else "", _text(meanings.get(name, ""))


def _comment(lines: list[str], key: yaml.Node, value: yaml.Node) -> str:
    """The comment on a key's line, and on the lines after it that are comments farther in."""
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    line = (
        key.start_mark.line
        if block
        else max(key.start_mark.line, value.end_mark.line - (not value.end_mark.column))
    )
    found = re.search(r"(?:^|\s)#\s*(.*)", lines[line])
    said = [found[1]] if found else []
    while found and line + 1 < len(lines) and (more := re.fullmatch(r"(\s+)#\s*(.*)", lines[line + 1])):
        if len(more[1]) <= key.start_mark.column + 2:
            break
        said.append(more[2])
        line += 1
    return " ".join(said)


def _parameters(path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Meanings of a target's parameters, and the defaults of those that simple values can fill."""
    target = get_object(path)
    said = inspect.getdoc(target) or ""
    meanings = {"_target_": said.split("\n\n")[0]}
    if isinstance(target, type):
        said += "\n" + (inspect.getdoc(target.__init__) or "")
        ours = [c for c in reversed(target.__mro__) if c.__module__.startswith(("geometry", "nvs", "eval"))]
        source = "\n".join(map(inspect.getsource, ours or [target]))
        meanings |= dict(re.findall(r"^ {4}(\w+): [^#\n]+#\s*(.*)$", source, flags=re.M))
        for above, name in re.findall(r"((?:^ {4}# .*\n)+) {4}(\w+): ", source, flags=re.M):
            meanings[name] = " ".join(line.strip(" #") for line in above.splitlines())
    for block in re.findall(r"^Args:\n((?: {4}.*\n?|\n)+)", said, flags=re.M):
        for names, text in re.findall(r"^ {4}([\w, ]+): (.*(?:\n {5,}.*)*)", block, flags=re.M):
            meanings |= {name: " ".join(text.split()) for name in names.split(", ")}
    unsaid = {}
    ours = inspect.signature(target).parameters if path.startswith(("geometry", "nvs", "eval")) else {}
    for p in ours.values():
        if p.default is not p.empty and isinstance(p.default, (str, int, float, bool, tuple, type(None))):
            unsaid[p.name] = json.dumps(p.default)
    return meanings, unsaid


def reference() -> str:
    """Names of the Python API, for mkdocstrings."""
    parts = ["# Python reference", "What each does together: [Python API](api.md)."]
    for package in ("geometry", "nvs"):
        module = importlib.import_module(package)
        parts.append(f"## {package}")
        homes = {
            name: home for name, home in module._HOMES.items() if home.startswith(package) and name[0] != "_"
        }
        parts += [f"::: {_home(home, name)}.{name}" for name, home in homes.items()]
    for name in MODULES.split():
        parts.append(
            f"## {name}\n\n::: {name}\n    options:\n      heading_level: 3\n      show_root_heading: false"
        )
    return "\n\n".join(parts) + "\n"


def _home(module: str, name: str) -> str:
    """The module in which a name is defined: griffe follows no lazy imports."""
    return getattr(getattr(importlib.import_module(module), name), "__module__", module)


def licences() -> str:
    """Licences of weights and data sets, from the tables that the commands use."""
    from geometry.commands.prepare_data import SETS
    from geometry.weights.hub import RELEASES

    weights = [(f"`{name}`", f"`{r.repository}`", r.licence) for name, r in RELEASES.items()]
    parts = [
        "# Licences of models and data",
        "The code is Apache-2.0. Weights have licences of their own, which are printed when they are loaded "
        "and written into `scene.json`; what is made with them may be bound by them. None of the released "
        "weights and data sets is shipped.",
        "## Weights",
        _table(("`--model`", "hub", "licence"), [("`tiny`", "in the package", "Apache-2.0"), *weights]),
        "Heads that `nvs finetune` writes hold what they learnt from your photos and the name of the network "
        "under them, whose licence stays.",
        "## Data sets",
        "As their pages stated it; read them yourself. `geometry data prepare SET --help` says the same.",
        _table(
            ("set", "where from, and its terms"),
            [(f"`{name}`", _text(text)) for name, (text, _) in SETS.items()],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def quickstart(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page, and its pictures by path."""
    parts, pictures = [], {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        parts.append(f"```python\n{source}\n```" if code else linked(source, "examples/quickstart.ipynb"))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            kind = next((k for k in ("image/png", "image/jpeg") if k in data), None)
            text = "".join(output.get("text", ()) or data.get("text/plain", ()))
            if kind:
                path = f"images/quickstart_{len(pictures)}.{kind[6:]}"
                pictures[path] = base64.b64decode("".join(data[kind]))
                parts.append(f"![output of the cell above]({path})")
            elif text.strip():
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def linked(markdown: str, place: str) -> str:
    """A page's links, from files beside `docs/` and from the root into the pages of the site."""

    def to(match: re.Match[str]) -> str:
        name, anchor = match[1], match[2] or ""
        target = (ROOT / place).parent.joinpath(name).resolve()
        inside = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else name
        return f"]({OUTSIDE.get(inside, inside.removeprefix('docs/'))}{anchor})"

    return re.sub(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)", to, markdown)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _text(text: str) -> str:
    """Plain text for Markdown: angle brackets are no tags."""
    return " ".join(re.sub(r"(``?)([^`]+)\1", r"`\2`", text).replace("<", "&lt;").split())


def on_files(files: Any, *, config: Any) -> Any:
    """MkDocs: the pages that are made."""
    from mkdocs.structure.files import File

    notebook, pictures = quickstart(
        json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    )
    made: dict[str, str | bytes] = {
        "commands.md": commands(),
        "configuration.md": configuration(),
        "reference.md": reference(),
        "licences.md": licences(),
        "quickstart.md": notebook,
        **pictures,
    }
    made |= {page: linked((ROOT / file).read_text(encoding="utf-8"), file) for file, page in OUTSIDE.items()}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs: links out of `docs/`."""
    return markdown if page.file.generated_by else linked(markdown, f"docs/{page.file.src_uri}")

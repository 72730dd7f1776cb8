"""`geometry data check DIR`: is a download complete and read correctly?"""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from geometry.datasets.registry import READERS, open_source, recognise
from geometry.errors import InputError, run_command


def parser() -> argparse.ArgumentParser:
    one = argparse.ArgumentParser(
        prog="geometry data check",
        description="Is a downloaded data set complete and read correctly? Opens some scenes with the reader "
        "whose layout the folder has, decodes some frames, and asks whether depth, poses and intrinsics fit "
        "each other, or, without depth, whether points and photos fit the poses. Names what is inconsistent, "
        "and the change that would correct it.",
    )
    one.add_argument("folder", metavar="DIR", type=Path, help="where the data set lies")
    one.add_argument("--kind", choices=tuple(READERS), help="reader to use (default: found by the layout)")
    one.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of the reader, for example device=iphone; repeatable",
    )
    one.add_argument("--scenes", type=int, default=3, help="scenes to look at (default 3)")
    one.add_argument("--frames", type=int, default=3, help="photos to decode in each (default 3)")
    one.add_argument("--json", type=Path, metavar="FILE", help="also write the findings there")
    return one


def main(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(list(argv))
    return run_command(lambda: _check(arguments))


def _check(arguments: argparse.Namespace) -> int:
    from geometry.datasets import check

    kind = arguments.kind or recognise(arguments.folder)
    source = open_source(arguments.folder, kind, **_options(arguments.option))
    print(f"{arguments.folder}: {kind}, {len(source)} scenes")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reports = check.check_source(source, scenes=arguments.scenes, decode=arguments.frames)
    for report in reports:
        print(f"\n{report.name}: {report.verdict}")
        for line in report.lines:
            print(f"  {line}")
    for message in dict.fromkeys(str(w.message) for w in caught):
        print(f"\nwarning: {message}")
    if arguments.json is not None:
        content = [report.as_json() for report in reports]
        arguments.json.write_text(json.dumps({"kind": kind, "scenes": content}, indent=1), encoding="utf-8")
    off = sum(report.verdict == "contradiction" for report in reports)
    undecided = sum(report.verdict == "undecided" for report in reports)
    fine = len(reports) - off - undecided
    print(f"\n{fine} of {len(reports)} scenes consistent, {off} off, {undecided} undecided")
    return 1 if off else 0


def _options(pairs: Sequence[str]) -> dict[str, object]:
    """NAME=VALUE arguments; values are JSON where they can be, else text."""
    options: dict[str, object] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--option {pair}: expected NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options

"""`geometry data check DIR`: is a download complete and read correctly?"""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from geometry.commands.arguments import add_source, named_source
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    one = argparse.ArgumentParser(
        prog="geometry data check",
        description="Is a downloaded data set complete and read correctly? Opens some scenes with the reader "
        "whose layout the folder has, decodes some frames, and asks whether depth, poses and intrinsics fit "
        "each other, or, without depth, whether points and photos fit the poses. Names what is inconsistent, "
        "and the change that would correct it.",
    )
    add_source(one)
    one.add_argument("--scenes", type=int, default=3, help="scenes to look at (default 3)")
    one.add_argument("--frames", type=int, default=3, help="photos to decode in each (default 3)")
    one.add_argument("--json", type=Path, metavar="FILE", help="also write the findings there")
    return one


def main(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(list(argv))
    return run_command(lambda: _check(arguments))


def _check(arguments: argparse.Namespace) -> int:
    from geometry.datasets import check

    kind, source = named_source(arguments)
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

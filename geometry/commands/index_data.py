"""``geometry data index DIR``: what training reads of each scene, made in advance."""

import argparse
import os
from collections.abc import Sequence

from geometry.commands.arguments import add_source, named_source
from geometry.console import say
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry data index",
        description="One small file for each scene with all that training reads of it but pixels and depth: "
        "cameras, sizes, which views overlap, sparse points. Training makes those that are missing when it "
        "first needs them, which takes seconds a scene. Options of the reader must be those that training "
        "gives it. Run again, it makes what is missing or was made of files that have changed since.",
    )
    add_source(p)
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: index(named_source(args)[1], args.jobs))


def index(source: object, jobs: int | None) -> int:
    """Index every scene; the exit status says whether all could be."""
    from geometry.sampling.prepared import prepare_all

    failures, number = [], 0
    for number, (name, failure) in enumerate(prepare_all(source, jobs or 1), start=1):  # type: ignore[arg-type]
        failures += [failure] if failure else []
        if number % 100 == 0:
            say(f"{number} of {len(source.names)} scenes, the last one {name}")  # type: ignore[attr-defined]
    for failure in failures:
        print(failure)
    say(f"{number - len(failures)} scenes indexed, {len(failures)} cannot be read")
    return 1 if failures else 0

"""`nvs-eval sensitivity`: how far each choice that the paper leaves open moves the score."""

import sys
from pathlib import Path

from eval.commands.config import compose, run_options
from eval.sensitivity import measure_sensitivity
from geometry.atomic import atomic_file
from geometry.errors import run_command

USAGE = """usage: nvs-eval sensitivity benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Runs a benchmark once as configured and once for each unstated choice made otherwise, all else equal; writes
OUT/sensitivity.md. Takes what nvs-eval run takes, but for split=; resumes where it stopped."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(argv))


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    options = run_options(compose(argv))
    text = measure_sensitivity(options)
    if text is not None:  # of several processes only the first has the results
        with atomic_file(Path(options.out).expanduser() / "sensitivity.md") as path:
            path.write_text(text, encoding="utf-8")
        print(text, end="")
    return 0

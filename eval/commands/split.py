"""`nvs-eval split`: a benchmark's data to a split file."""

import sys
from typing import Any

from eval.commands.config import benchmark_of, compose
from eval.run import make_split_file
from geometry.errors import InputError, run_command

USAGE = """usage: nvs-eval split benchmark=NAME benchmark.root=DIR split=FILE [key=value ...]

Divides every scene into context and target views and writes the division as JSON.
  benchmark=          dl3dv, tanks, megadepth or folder
  benchmark.root=     the data
  benchmark.rule.K=   every, offset, context, start, translation, rotation"""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(argv))


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    config = compose(argv)
    if config.split is None:
        raise InputError("configuration: expected split=FILE, the file to write")
    make_file(config)
    return 0


def make_file(config: Any) -> None:
    """Write the split of a composed config's data to its ``split``."""
    make_split_file(benchmark_of(config.benchmark), config.split)
    print(config.split)

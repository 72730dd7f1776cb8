"""What the commands of `nvs-eval` share: words of the form ``key=value``."""

import argparse
import sys
from collections.abc import Callable

from geometry.errors import run_command


def dashed(parser: argparse.ArgumentParser, argv: list[str] | None) -> list[str]:
    """The arguments with ``key=value`` as ``--key=value`` where the parser has such an option."""
    argv = sys.argv[1:] if argv is None else argv
    known = {option for action in parser._actions for option in action.option_strings}
    return [f"--{word}" if f"--{word.partition('=')[0]}" in known and "=" in word else word for word in argv]


def command(usage: str, run: Callable[[list[str]], int | None]) -> Callable[[list[str]], int]:
    """The ``main`` of a command of ``key=value`` words: without any it prints its usage."""

    def main(argv: list[str]) -> int:
        if not argv or argv[0] in ("-h", "--help"):
            print(usage)
            return 0 if argv else 2
        return run_command(lambda: run(argv))

    return main

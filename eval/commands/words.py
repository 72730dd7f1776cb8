"""Words as the other commands of `nvs-eval` take them."""

import argparse
import sys


def dashed(parser: argparse.ArgumentParser, argv: list[str] | None) -> list[str]:
    """The arguments with ``key=value`` as ``--key=value`` where the parser has such an option."""
    argv = sys.argv[1:] if argv is None else argv
    known = {option for action in parser._actions for option in action.option_strings}
    return [f"--{word}" if f"--{word.partition('=')[0]}" in known and "=" in word else word for word in argv]

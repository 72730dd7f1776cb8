"""`nvs-eval split`: a benchmark's data to a split file."""

import sys
from pathlib import Path
from typing import Any

from eval.commands.config import compose, plain
from eval.protocols.selection import Rule
from eval.protocols.splits import Split, checksum, make_split, read_split, write_split
from geometry.commands.configuration import instantiate
from geometry.console import say
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
    """Write the split of the data that a config names to its ``split``, and say what was divided."""
    path = Path(config.split)
    if path.exists():
        try:
            read_split(path)
        except InputError as error:
            raise InputError(f"{error}; it is not replaced: give another split=") from error
    split = split_of(config)
    write_split(path, split)
    for line in described(split, config.benchmark):
        say(line)
    print(config.split)


def split_of(config: Any) -> Split:
    """The split of the data that a config names."""
    source = instantiate(config.benchmark.source)
    return make_split(source, config.benchmark.name, Rule(**plain(config.benchmark.rule)))


def described(split: Split, benchmark: Any) -> list[str]:
    """What was divided, and in what it falls short of the benchmark."""
    targets = sum(len(scene.targets) for scene in split.scenes)
    lines = [f"{split.benchmark}: {len(split.scenes)} scenes, {targets} targets; checksum {checksum(split)}"]
    wanted = split.rule.context
    for scene in split.scenes:
        if len(scene.context) < wanted:
            few = len(scene.context)
            lines.append(
                f"{scene.name}: only {few} context views instead of {wanted}: the capture has no more"
            )
    if benchmark.expected_scenes and len(split.scenes) != benchmark.expected_scenes:
        lines.append(
            f"WARNING: the benchmark has {benchmark.expected_scenes} scenes, {len(split.scenes)} are here: "
            "means over these are not its numbers"
        )
    return lines

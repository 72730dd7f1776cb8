"""``geometry data pack DIR OUT``: scenes as tar files, for object stores."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from geometry.commands.arguments import add_source, named_source
from geometry.console import say
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry data pack",
        description="The scenes of a data set as tar files, each whole in one of them, with their indices "
        "and a list, shards.json. Files go in as they are. Training reads them from a disk, https://, gs:// "
        "or any command that writes a file to its output: data/source@...source=shards with its root.",
    )
    add_source(p)
    p.add_argument("out", metavar="OUT", type=Path, help="a folder without packed scenes")
    p.add_argument("--labels", metavar="FOLDER", help="labels that go along, for example teacher_depth")
    p.add_argument("--size", type=float, default=1000.0, metavar="MB", help="of a tar, about (default 1000)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: _pack(args))


def _pack(args: argparse.Namespace) -> None:
    from geometry.datasets.shards import pack
    from geometry.sampling.prepared import prepared

    _, source = named_source(args)
    scenes = (prepared(source, name) for name in source.names)
    packed = pack(scenes, args.out, labels=args.labels, shard_bytes=int(args.size * 1e6))
    for number, name in enumerate(packed, start=1):
        if number % 100 == 0 or number == len(source):
            say(f"{number} of {len(source)} scenes packed, the last one {name}")

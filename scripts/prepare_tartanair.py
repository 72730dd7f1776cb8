"""Unpack TartanAir: python scripts/prepare_tartanair.py ARCHIVES ROOT

Get it first: image and depth archives of the left camera, with castacks/tartanair_tools (first version) or
the tartanair package (V2); terms at tartanair.org. Nothing is downloaded here.

Every archive below ARCHIVES is unpacked; what lies above <env>/<difficulty>/P000 in it is cut.
"""

import argparse
import sys
from pathlib import Path, PurePosixPath

from geometry.datasets.tartanair import TartanAir
from geometry.datasets.unpack import below, unpack
from geometry.errors import InputError, run_command

LEVELS = ("Easy", "Hard", "Data_easy", "Data_hard")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args(argv)
    archives = sorted(args.archives.rglob("*.zip"))
    if not archives:
        raise InputError(f"{args.archives}: expected .zip archives, found none")
    for archive in archives:
        written, present = unpack(archive, args.root, lambda p, a=archive: _place(p, a, args.archives))
        print(f"{archive.relative_to(args.archives)}: {written} files written, {present} there already")
    source = TartanAir(args.root)
    print(f"{len(source)} flights")
    return 0


def _place(path: PurePosixPath, archive: Path, root: Path) -> PurePosixPath | None:
    """The path in the archive, or else the archive's own folders, name environment and difficulty."""
    return below(*LEVELS)(path) or below(*LEVELS)(
        PurePosixPath(archive.parent.relative_to(root).as_posix()) / path
    )


if __name__ == "__main__":
    sys.exit(run_command(main))

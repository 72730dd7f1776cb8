"""Unpack BlendedMVS or BlendedMVG: python scripts/prepare_blended_mvs.py ARCHIVES ROOT

Get it first, from the links of YoYo000/BlendedMVS, CC BY 4.0. Nothing is downloaded here.

Every archive is unpacked, and what lies above <project>/{blended_images, cams, rendered_depth_maps} is cut.
"""

import argparse
import sys
from pathlib import Path

from geometry.datasets.blended_mvs import BlendedMVS
from geometry.datasets.unpack import below, unpack
from geometry.errors import InputError, run_command

PARTS = ("blended_images", "cams", "rendered_depth_maps")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args(argv)
    archives = sorted(p for p in args.archives.iterdir() if p.suffix in (".zip", ".tar", ".gz"))
    if not archives:
        raise InputError(f"{args.archives}: expected archives, found none")
    for archive in archives:
        written, present = unpack(archive, args.root, below(*PARTS))
        print(f"{archive.name}: {written} files written, {present} there already")
    print(f"{len(BlendedMVS(args.root))} projects")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

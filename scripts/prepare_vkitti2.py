"""Unpack Virtual KITTI 2: python scripts/prepare_vkitti2.py ARCHIVES ROOT

Get it first, from the set's page at Naver Labs Europe, CC BY-NC-SA 3.0: vkitti_2.0.3_rgb.tar,
vkitti_2.0.3_depth.tar, vkitti_2.0.3_textgt.tar.gz, and for a sky mask by class
vkitti_2.0.3_classSegmentation.tar. Nothing is downloaded here.
"""

import argparse
import sys
from pathlib import Path, PurePosixPath

from geometry.datasets.unpack import unpack
from geometry.datasets.vkitti2 import VirtualKitti2
from geometry.errors import InputError, run_command


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args(argv)
    archives = sorted(args.archives.glob("vkitti_*.tar*"))
    if not archives:
        raise InputError(f"{args.archives}: expected vkitti_*.tar, found none")
    for archive in archives:
        folder = archive.name.split(".tar")[0]
        written, present = unpack(archive, args.root, lambda p, f=folder: _place(p, f))
        print(f"{archive.name}: {written} files written, {present} there already")
    print(f"{len(VirtualKitti2(args.root))} drives")
    return 0


def _place(path: PurePosixPath, folder: str) -> PurePosixPath | None:
    for i, part in enumerate(path.parts):
        if part.startswith("Scene"):
            return PurePosixPath(folder, *path.parts[i:])
    return None


if __name__ == "__main__":
    sys.exit(run_command(main))

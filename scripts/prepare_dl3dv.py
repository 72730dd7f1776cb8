"""Lay out DL3DV-10K: python scripts/prepare_dl3dv.py ROOT --benchmark FILE

Get it first: the gated Hugging Face repositories DL3DV/DL3DV-ALL-480P (about 730 GB) or -960P (about 2.8 TB)
with their download.py, and the metadata table of DL3DV/DL3DV-Benchmark, in which the hashes of the 140
benchmark scenes stand. CC BY-NC 4.0 with terms of use; accept them there. Nothing is downloaded here.

Unpacks every ROOT/<1K..11K>/<hash>.zip beside itself, then writes ROOT/train.txt: all scenes that can be
read, but for the benchmark's.
"""

import argparse
import re
import sys
from pathlib import Path, PurePosixPath

from geometry.atomic import atomic_file
from geometry.datasets.dl3dv import DL3DV
from geometry.datasets.sources import SCENE_HASH
from geometry.datasets.unpack import unpack
from geometry.errors import InputError, run_command


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--benchmark", type=Path, required=True, help="file with the benchmark's hashes")
    parser.add_argument("--delete-archives", action="store_true", help="delete each .zip once it is unpacked")
    args = parser.parse_args(argv)
    for archive in sorted(args.root.glob("*/*.zip")):
        if not SCENE_HASH.fullmatch(archive.stem):
            continue
        batch = archive.parent.name
        written, present = unpack(archive, args.root, lambda p, a=archive, b=batch: _place(p, a.stem, b))
        print(f"{archive.name}: {written} files written, {present} there already")
        if args.delete_archives and written + present > 0:
            archive.unlink()
    source = DL3DV(args.root, exclude=args.benchmark)
    readable = []
    for name in source.names:
        try:
            source.read(name)
            readable.append(name)
        except InputError as error:
            print(f"left out: {error}")
    with atomic_file(args.root / "train.txt") as path:
        path.write_text("".join(f"{name}\n" for name in readable), encoding="utf-8")
    print(
        f"{len(readable)} scenes in {args.root / 'train.txt'}; {len(source.names) - len(readable)} cannot be "
        f"read; {len(source.excluded)} benchmark scenes are left out"
    )
    return 0


def _place(path: PurePosixPath, scene: str, batch: str) -> PurePosixPath:
    """Archives hold the scene's folder, with or without the batch's above it, or its contents."""
    parts = list(path.parts)
    while parts and (parts[0] == scene or re.fullmatch(r"\d+K", parts[0])):
        parts.pop(0)
    return PurePosixPath(batch, scene, *parts)


if __name__ == "__main__":
    sys.exit(run_command(main))

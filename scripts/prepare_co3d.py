"""Cut CO3D's annotations into one small file per sequence: python scripts/prepare_co3d.py ROOT

Get it first: CO3D v2 with the download script of facebookresearch/co3d, CC BY-NC 4.0. Nothing is
downloaded here. The photos stay where they are; the files go to ROOT/_sequences, where the reader looks.
"""

import argparse
import json
import sys
from pathlib import Path

from geometry.atomic import atomic_file
from geometry.datasets.co3d import INDEX_FOLDER, read_frames, read_qualities
from geometry.errors import InputError, run_command


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, default=None, help=f"default ROOT/{INDEX_FOLDER}")
    args = parser.parse_args(argv)
    out = args.out or args.root / INDEX_FOLDER
    annotations = sorted(args.root.glob("*/frame_annotations.jgz"))
    if not annotations:
        raise InputError(f"{args.root}: expected <category>/frame_annotations.jgz, found none")
    for path in annotations:
        category = path.parent.name
        frames = read_frames(path)
        qualities = read_qualities(path.parent / "sequence_annotations.jgz")
        there = {name for name in frames if (path.parent / name / "images").is_dir()}
        for name in sorted(there):
            with atomic_file(out / category / f"{name}.json") as file:
                file.write_text(json.dumps(frames[name]), encoding="utf-8")
        with atomic_file(out / f"{category}.json") as file:  # last: its presence says that all are there
            file.write_text(json.dumps({n: qualities.get(n) for n in sorted(there)}), encoding="utf-8")
        absent = len(frames) - len(there)
        print(f"{category}: {len(there)} sequences" + (f", {absent} without photos here" if absent else ""))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

"""Unpack what is needed of Hypersim: python scripts/prepare_hypersim.py ARCHIVES ROOT

Get it first: ai_VVV_NNN.zip with the download script of apple/ml-hypersim, CC BY-SA 3.0, and from the same
repository contrib/mikeroberts3000/metadata_camera_parameters.csv, which goes into ROOT. Nothing is
downloaded here.

Of each scene only the tone-mapped photos, the distances and the camera paths are unpacked: a small part of
the whole.
"""

import argparse
import re
import sys
from pathlib import Path, PurePosixPath

from geometry.datasets.hypersim import LENS_TABLE, Hypersim
from geometry.datasets.unpack import unpack
from geometry.errors import InputError, run_command

WANTED = re.compile(
    r"(_detail/metadata_scene\.csv"
    r"|_detail/cam_\d+/camera_keyframe_(positions|orientations|frame_indices)\.hdf5"
    r"|images/scene_cam_\d+_final_preview/frame\.\d+\.tonemap\.jpg"
    r"|images/scene_cam_\d+_geometry_hdf5/frame\.\d+\.depth_meters\.hdf5)$"
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", type=Path)
    parser.add_argument("root", type=Path)
    args = parser.parse_args(argv)
    archives = sorted(args.archives.glob("ai_*.zip"))
    if not archives:
        raise InputError(f"{args.archives}: expected ai_*.zip, found none")
    for archive in archives:
        written, present = unpack(archive, args.root, _wanted)
        print(f"{archive.name}: {written} files written, {present} there already")
    if not (args.root / LENS_TABLE).is_file():
        raise InputError(
            f"{args.root / LENS_TABLE}: expected the table of lenses, see --help for where it is"
        )
    print(f"{len(Hypersim(args.root))} camera paths")
    return 0


def _wanted(path: PurePosixPath) -> PurePosixPath | None:
    return path if WANTED.search(path.as_posix()) else None


if __name__ == "__main__":
    sys.exit(run_command(main))

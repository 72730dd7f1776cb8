"""Lay out and check Tanks and Temples: python scripts/prepare_tanks_and_temples.py ROOT [--intrinsics FILE]

Get it first, from tanksandtemples.org/download: the image sets of the training scenes Barn, Caterpillar,
Church, Ignatius, Meetingroom and Truck, and their camera poses (<Scene>_COLMAP_SfM.log). The set has a
licence of its own, on the same site. Nothing is downloaded here.

Unpacks ROOT/<Scene>.zip beside itself. No official file has intrinsics; where a scene has neither a COLMAP
model nor intrinsics in FILE (scene name -> fl_x, fl_y, cx, cy, w, h and distortion), the COLMAP commands that
make a model are printed; they take hours. Checks all six scenes and writes ROOT/split.json once they can be
read.
"""

import argparse
import sys
import warnings
from pathlib import Path, PurePosixPath

from eval.commands.config import compose
from eval.commands.split import make_file
from geometry.datasets.tanks_and_temples import TanksAndTemples
from geometry.datasets.unpack import unpack
from geometry.errors import InputError, run_command
from geometry.formats import colmap
from geometry.formats.images import IMAGE_SUFFIXES

SCENES = ("Barn", "Caterpillar", "Church", "Ignatius", "Meetingroom", "Truck")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--intrinsics", type=Path, help="JSON with the cameras of scenes in official form")
    args = parser.parse_args(argv)
    for scene in SCENES:
        archive = args.root / f"{scene}.zip"
        if archive.is_file():
            written, present = unpack(archive, args.root, lambda path, s=scene: _place(path, s))
            print(f"{archive.name}: {written} files written, {present} there already")
    faults = [fault for scene in SCENES for fault in check(args.root, scene, args.intrinsics)]
    for fault in faults:
        print(fault)
    if faults:
        return 1
    values = {"benchmark.root": str(args.root), "split": str(args.root / "split.json")}
    if args.intrinsics is not None:
        values["benchmark.source.intrinsics"] = str(args.intrinsics)
    make_file(compose(["benchmark=tanks"], values))
    return 0


def check(root: Path, name: str, intrinsics: Path | None) -> list[str]:
    """What keeps a scene from being read, a line each; prints how many photos it has if nothing does."""
    folder = root / name
    if not folder.is_dir():
        return [f"{name}: missing: no {folder}"]
    if colmap.find_model(folder) is None and intrinsics is None:
        images = folder / "images" if (folder / "images").is_dir() else folder
        return [f"{name}: no COLMAP model and no --intrinsics; to do:", *_colmap_commands(images, folder)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            scene = TanksAndTemples(root, intrinsics=intrinsics, scenes=[name]).read(name)
        except InputError as error:
            return [f"{name}: {error}"]
    print(f"{name}: {len(scene)} photos with poses")
    return [f"{name}: {warning.message}" for warning in said]


def _colmap_commands(images: Path, folder: Path) -> list[str]:
    database, sparse = folder / "database.db", folder / "sparse"
    return [
        f"  colmap feature_extractor --image_path {images} --database_path {database} "
        "--ImageReader.single_camera 1 --ImageReader.camera_model OPENCV",
        f"  colmap exhaustive_matcher --database_path {database}",
        f"  mkdir -p {sparse} && colmap mapper --image_path {images} --database_path {database} "
        f"--output_path {sparse}",
    ]


def _place(path: PurePosixPath, scene: str) -> PurePosixPath | None:
    """Photos go to <Scene>/, whatever folders the archive has around them."""
    return PurePosixPath(scene, path.name) if path.suffix.lower() in IMAGE_SUFFIXES else None


if __name__ == "__main__":
    sys.exit(run_command(main))

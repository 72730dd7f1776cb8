"""Undistort and check MegaDepth: python scripts/prepare_megadepth.py ROOT [--undistort] [--benchmark]

Get it first, from the set's page at Cornell: MegaDepth_v1 (depth; unpacks to phoenix/S6/zl548/MegaDepth_v1)
and the SfM models with their photos (MegaDepth_v1_SfM). The photos are Flickr's, each under its own
licence. Nothing is downloaded here.

The SfM models have distorted photos, depth belongs to undistorted ones: with --undistort, COLMAP (which must
be installed) writes ROOT/Undistorted_SfM/<scene> for each scene that has depth and is not there yet;
without, the commands are printed. Then the sizes of photos and depth are compared.

--benchmark does this for scenes 5000 to 5018, for which no depth is needed, and writes ROOT/split.json once
all of them can be read.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from eval.commands.config import compose
from eval.commands.split import make_file
from geometry.datasets.megadepth import MegaDepthColmap
from geometry.errors import InputError, run_command
from geometry.formats import colmap

DEPTHS = "phoenix/S6/zl548/MegaDepth_v1"
BENCHMARK = tuple(str(place) for place in range(5000, 5019))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--undistort", action="store_true", help="run COLMAP")
    parser.add_argument("--scenes", nargs="*", help="place numbers, for example 0004; default: all")
    parser.add_argument("--benchmark", action="store_true", help="scenes of the view-synthesis benchmark")
    args = parser.parse_args(argv)
    scenes = list(BENCHMARK) if args.benchmark else args.scenes or _scenes_with_depth(args.root / DEPTHS)
    undistorted = args.root / "Undistorted_SfM"
    for scene in scenes:
        if colmap.find_model(undistorted / scene) is not None:
            continue
        model = args.root / "MegaDepth_v1_SfM" / scene
        if not (model / "sparse/manhattan/0").is_dir():
            print(f"{scene}: left out, no model in {model / 'sparse/manhattan/0'}")
            continue
        _undistort(model, undistorted / scene, run=args.undistort)
    wrong = _compare(args.root, scenes)
    if args.benchmark and not wrong:
        missing = [scene for scene in scenes if colmap.find_model(undistorted / scene) is None]
        if missing:
            print(f"no split yet: {len(missing)} of {len(scenes)} scenes are missing ({missing[0]}, ...)")
            return 1
        values = {"benchmark.root": str(args.root), "split": str(args.root / "split.json")}
        make_file(compose(["benchmark=megadepth"], values))
    return wrong


def _scenes_with_depth(depths: Path) -> list[str]:
    if not depths.is_dir():
        raise InputError(f"{depths}: expected MegaDepth's depth, found no such folder")
    return sorted(p.name for p in depths.iterdir() if (p / "dense0/depths").is_dir())


def _undistort(model: Path, out: Path, *, run: bool) -> None:
    command = ["colmap", "image_undistorter", "--image_path", model / "images"]
    command += ["--input_path", model / "sparse/manhattan/0", "--output_path", out]
    command = [str(part) for part in command]
    if not run:
        print("to do:", *command)
        return
    if shutil.which("colmap") is None:
        raise InputError(f"colmap: expected the program on the path to undistort {model.name}, found none")
    temporary = out.with_name(f".{out.name}.part")  # a model that is half there must not look whole
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    command[-1] = str(temporary)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(f"{model}: colmap image_undistorter failed: {done.stderr.strip()[-300:]}")
    temporary.rename(out)
    print(f"{model.name}: undistorted")


def _compare(root: Path, scenes: list[str]) -> int:
    """Depth and photo of a frame have one shape, or the undistortion used another size."""
    if not (root / "Undistorted_SfM").is_dir():
        return 0
    source = MegaDepthColmap(root)
    wrong = 0
    for name in source.names:
        if name not in scenes:
            continue
        scene = source.read(name)
        frames = [frame for frame in scene.frames if frame.depth is not None][:3]
        shapes = [(frame, frame.load_depth().shape) for frame in frames]
        bad = [(f, s) for f, s in shapes if tuple(f.image_size) != tuple(s)]
        with_depth = sum(frame.depth is not None for frame in scene.frames)
        print(f"{name}: {len(scene)} photos, {with_depth} with depth" + (", SIZES DIFFER" if bad else ""))
        for frame, shape in bad:
            print(f"  {frame.name}: photo (H, W) {frame.image_size}, depth {shape}")
        wrong += bool(bad)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run_command(main))

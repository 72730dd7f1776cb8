"""``geometry data prepare SET ROOT``: a downloaded set into the layout that its reader expects."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geometry.__main__ import nvs_eval
from geometry.datasets.dl3dv import IMAGE_FOLDERS
from geometry.datasets.preparation import PREPARATIONS, prepare
from geometry.errors import run_command

# Set -> benchmark whose split is written once nothing is missing (megadepth: with --benchmark).
SPLITS = {"dl3dv_benchmark": "dl3dv", "megadepth": "megadepth", "tanks_and_temples": "tanks"}


def _flag(text: str) -> dict[str, Any]:
    return {"action": "store_true", "help": text}


def _path(text: str, **more: Any) -> dict[str, Any]:
    return {"type": Path, "help": text, **more}


OPTIONS: dict[str, dict[str, dict]] = {
    "co3d": {"--out": _path("folder of the index (default ROOT/_sequences)")},
    "dl3dv": {
        "--benchmark": _path(
            "file with the benchmark's hashes: the metadata table of DL3DV/DL3DV-Benchmark", required=True
        ),
        "--delete-archives": _flag("delete each .zip once it is unpacked"),
    },
    "dl3dv_benchmark": {
        "--fetch": _flag("download poses and one resolution of photos with your access; can be stopped"),
        "--resolution": {
            "choices": tuple(IMAGE_FOLDERS),
            "default": "480P",
            "help": "default: 480P, 270 x 480, the benchmark's",
        },
    },
    "megadepth": {
        "--undistort": _flag("run COLMAP; without, its commands are printed"),
        "--scenes": {"nargs": "*", "help": "place numbers, for example 0004; default: those with depth"},
        "--benchmark": _flag(
            "scenes 5000 to 5018, which need no depth; writes ROOT/split.json once all can be read"
        ),
    },
    "scannetpp": {"--device": {"choices": ("dslr", "iphone"), "default": "dslr"}},
    "tanks_and_temples": {
        "--intrinsics": _path(
            "JSON: scene name -> fl_x, fl_y, cx, cy, w, h, distortion; for the official form"
        )
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="geometry data prepare",
        description="A downloaded set into the layout that its reader expects; can be interrupted and run "
        "again. SET --help tells where to get it.",
    )
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    for name, preparation in PREPARATIONS.items():
        one = sets.add_parser(name, help=preparation.get.split(": ")[0], description=preparation.get)
        one.add_argument("root", metavar="ROOT", type=Path, help="where the reader will find the set")
        if preparation.archives:
            one.add_argument("--archives", type=Path, help="folder of the archives (default ROOT)")
        for flag, arguments in OPTIONS.get(name, {}).items():
            one.add_argument(flag, **arguments)
    options = vars(parser.parse_args(argv))
    return run_command(lambda: _prepare(options.pop("set"), options.pop("root"), **options))


def _prepare(name: str, root: Path, **options: Any) -> int:
    faults = prepare(name, root, **options)
    for fault in faults:
        print(fault)
    if faults:
        return 1
    if name in SPLITS and options.get("benchmark", True):
        return _write_split(SPLITS[name], root, options.get("intrinsics"))
    return 0


def _write_split(benchmark: str, root: Path, intrinsics: object) -> int:
    """The division into context and targets, by the benchmark's own command."""
    values = {"benchmark": benchmark, "benchmark.root": root, "split": root / "split.json"}
    if intrinsics is not None:
        values["benchmark.source.intrinsics"] = intrinsics
    quoted = [f'{key}="{str(value).replace(chr(34), chr(92) + chr(34))}"' for key, value in values.items()]
    return nvs_eval(["split", *quoted])

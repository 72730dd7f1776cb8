"""``geometry data prepare SET ROOT``: a downloaded set into the layout that its reader expects."""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from geometry.__main__ import nvs_eval
from geometry.commands.index_data import index
from geometry.console import say
from geometry.errors import InputError, run_command

# Set -> benchmark whose split is written once nothing is missing (megadepth: with --benchmark).
SPLITS = {"dl3dv_benchmark": "dl3dv", "megadepth": "megadepth", "tanks_and_temples": "tanks"}


def _flag(text: str) -> dict[str, Any]:
    return {"action": "store_true", "help": text}


def _path(text: str, **more: Any) -> dict[str, Any]:
    return {"type": Path, "help": text, **more}


_ARCHIVES = _path("folder of the archives (default ROOT)")
# Where each set comes from and under which terms, and its options.
SETS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "blended_mvs": (
        "BlendedMVS or BlendedMVG: the links of YoYo000/BlendedMVS, CC BY 4.0.",
        {"--archives": _ARCHIVES},
    ),
    "co3d": (
        "CO3D v2: the download script of facebookresearch/co3d, CC BY-NC 4.0. Annotations are cut into "
        "one small file per sequence; photos stay where they are.",
        {"--out": _path("folder of the index (default ROOT/_sequences)")},
    ),
    "dl3dv": (
        "DL3DV-10K: the gated Hugging Face repositories DL3DV/DL3DV-ALL-480P (about 730 GB) or -960P "
        "(about 2.8 TB) with their download.py, to ROOT/<1K..11K>/<hash>.zip. CC BY-NC 4.0 with terms of "
        "use; accept them there. Writes ROOT/train.txt: all scenes that can be read, but for the "
        "benchmark's.",
        {
            "--archives": _ARCHIVES,
            "--benchmark": _path(
                "file with the benchmark's hashes: the metadata table of DL3DV/DL3DV-Benchmark",
                required=True,
            ),
            "--delete-archives": _flag("delete each .zip once it is unpacked"),
        },
    ),
    "dl3dv_benchmark": (
        "DL3DV's benchmark: 140 scenes in the gated repository DL3DV/DL3DV-Benchmark on Hugging Face, CC "
        "BY-NC 4.0 with terms of use: accept them there and log in (`hf auth login`, or HF_TOKEN). Checks "
        "that every scene is there with all its photos, and writes ROOT/split.json.",
        {
            "--fetch": _flag("download poses and one resolution of photos with your access; can be stopped"),
            "--resolution": {
                "choices": ("480P", "960P", "2K", "4K"),
                "default": "480P",
                "help": "default: 480P, 270 x 480, the benchmark's",
            },
        },
    ),
    "hypersim": (
        "Hypersim: ai_VVV_NNN.zip with the download script of apple/ml-hypersim, CC BY-SA 3.0, and from "
        "there contrib/mikeroberts3000/metadata_camera_parameters.csv, to ROOT. Only tone-mapped photos, "
        "distances and camera paths are unpacked.",
        {"--archives": _ARCHIVES},
    ),
    "megadepth": (
        "MegaDepth: its page at Cornell has MegaDepth_v1 (depth; unpacks to "
        "phoenix/S6/zl548/MegaDepth_v1) and MegaDepth_v1_SfM (models and photos, which are Flickr's, each "
        "under its own licence). Depth belongs to photos that COLMAP has undistorted to "
        "ROOT/Undistorted_SfM/<scene>.",
        {
            "--undistort": _flag("run COLMAP; without, its commands are printed"),
            "--scenes": {"nargs": "*", "help": "place numbers, for example 0004; default: those with depth"},
            "--benchmark": _flag(
                "scenes 5000 to 5018, which need no depth; writes ROOT/split.json once all can be read"
            ),
        },
    ),
    "procedural": (
        "Procedural worlds, made here: photos, depth and cameras, which training would else render anew for "
        "every sample. A world of 24 photos takes about 20 seconds of a core and 5 MB.",
        {
            "--worlds": {"type": int, "default": 1000, "help": "how many (default 1000)"},
            "--photos": {"type": int, "default": 24, "help": "of each (default 24)"},
            "--size": {
                "type": int,
                "nargs": 2,
                "default": (504, 672),
                "metavar": ("H", "W"),
                "help": "of photos",
            },
        },
    ),
    "scannetpp": (
        "ScanNet++: on request at its own site, under its terms of use. Depth is rendered and iPhone "
        "frames are extracted by the set's toolbox (scannetpp/scannetpp). Writes ROOT/ready_<device>.txt "
        "for ``scenes=``.",
        {
            "--device": {
                "choices": ("dslr", "iphone"),
                "default": "dslr",
                "help": "whose photos (default dslr)",
            },
        },
    ),
    "tanks_and_temples": (
        "Tanks and Temples: image sets of the training scenes but Courthouse, and their poses "
        "(<Scene>_COLMAP_SfM.log), from tanksandtemples.org/download, to ROOT; licence on the same site. "
        "No official file has intrinsics: without a COLMAP model, the commands that make one are printed. "
        "Checks all six scenes and writes ROOT/split.json.",
        {
            "--archives": _ARCHIVES,
            "--intrinsics": _path(
                "JSON: scene name -> fl_x, fl_y, cx, cy, w, h, distortion; for the official form"
            ),
        },
    ),
    "tartanair": (
        "TartanAir: image and depth archives of the left camera, with castacks/tartanair_tools (first "
        "version) or the tartanair package (V2); terms at tartanair.org.",
        {"--archives": _ARCHIVES},
    ),
    "vkitti2": (
        "Virtual KITTI 2: vkitti_2.0.3_{rgb, depth, textgt}.tar, and for a sky mask by class "
        "_classSegmentation.tar, from its page at Naver Labs Europe, CC BY-NC-SA 3.0.",
        {"--archives": _ARCHIVES},
    ),
}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry data prepare",
        description="A downloaded set into the layout that its reader expects; can be interrupted and run "
        "again. SET --help tells where to get it.",
    )
    sets = p.add_subparsers(dest="set", required=True, metavar="SET")
    for name, (text, options) in SETS.items():
        one = sets.add_parser(name, help=text.split(": ")[0], description=text)
        one.add_argument("root", metavar="ROOT", type=Path, help="where the reader will find the set")
        one.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that index scenes")
        for flag, arguments in options.items():
            one.add_argument(flag, **arguments)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    options = vars(parser().parse_args(argv))
    return run_command(lambda: _prepare(options.pop("set"), options.pop("root"), **options))


def _prepare(name: str, root: Path, jobs: int | None, **options: Any) -> int:
    from geometry.datasets.preparation import prepare
    from geometry.datasets.registry import READERS, open_source

    if name == "procedural":
        _make_worlds(
            root, jobs, options.pop("worlds"), seed=0, photos=options["photos"], image_size=options["size"]
        )
        return index(open_source(root, "transforms", sky_without_depth=True), jobs)
    faults = prepare(name, root, **options)
    for fault in faults:
        print(fault)
    if faults:
        return 1
    if name in SPLITS and options.get("benchmark", True):
        return _write_split(SPLITS[name], root, options.get("intrinsics"))
    if name in READERS:
        with suppress(InputError):  # nothing to read yet, as was said
            index(open_source(root, name), jobs)
    return 0


def _make_worlds(root: Path, jobs: int | None, worlds: int, **what: Any) -> None:
    from geometry.worlds.capture import write_world

    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        made = sum(pool.map(partial(write_world, root, **what), range(worlds)))
    say(f"{made} worlds made, {worlds - made} there already")


def _write_split(benchmark: str, root: Path, intrinsics: object) -> int:
    """The division into context and targets, by the benchmark's own command."""
    values = {"benchmark": benchmark, "benchmark.root": root, "split": root / "split.json"}
    if intrinsics is not None:
        values["benchmark.source.intrinsics"] = intrinsics
    quoted = [f'{key}="{str(value).replace(chr(34), chr(92) + chr(34))}"' for key, value in values.items()]
    return nvs_eval(["split", *quoted])

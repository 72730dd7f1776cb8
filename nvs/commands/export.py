"""`nvs export`: splats, or photos with cameras, in the formats of other tools."""

import argparse
import math
from pathlib import Path

from geometry.errors import run_command
from nvs.options import BACKENDS, CAPTURES, SPLATS, WORLDS


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs export",
        description="Write splats in another format, and say how much of the picture it keeps; or the photos "
        "and cameras of a folder of `nvs render` as a capture (colmap, nerfstudio). docs/formats.md compares "
        "them.",
    )
    p.add_argument(
        "source", type=Path, help="a folder that `nvs render` wrote, or a splat file of any format"
    )
    p.add_argument("--to", required=True, choices=(*SPLATS, *CAPTURES))
    p.add_argument(
        "--out",
        type=Path,
        help="file or folder (default: beside the source, under its name or that of the format)",
    )
    p.add_argument("--overwrite", action="store_true", help="replace a splat file that is there")
    p.add_argument(
        "--spz-version", type=int, choices=(3, 4), default=3, help="3 (default) is read by most viewers"
    )
    p.add_argument(
        "--world",
        choices=WORLDS,
        help="axes of the source, for spz and glb, which are y up: opencv (y down) is turned, y-up is not "
        "(default: what scene.json says, else opencv)",
    )
    p.add_argument("--backend", choices=BACKENDS, default="auto", help="rasterizer of the comparison")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    from nvs.export import export

    done = export(
        args.source,
        args.to,
        args.out,
        spz_version=args.spz_version,
        world=args.world,
        overwrite=args.overwrite,
        backend=args.backend,
    )
    if done.psnr is not None:
        print(
            "the same picture"
            if math.isinf(done.psnr)
            else f"psnr {done.psnr:.2f} dB to the source's picture"
        )
    print(done.path)
    return 0

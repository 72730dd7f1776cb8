"""``geometry data make-capture``: photos of a procedural world and a transforms.json."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from geometry.errors import run_command
from geometry.options import WORLD_KINDS, WORLD_PATHS


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry data make-capture",
        description="JPEG photos of a procedural world, as a person would walk and film it, with their exact "
        "cameras.",
    )
    p.add_argument("--seed", type=int, default=7, help="world and path follow from it")
    p.add_argument("--views", type=int, default=24, help="number of photos")
    p.add_argument("--size", type=int, nargs=2, default=(540, 960), metavar=("H", "W"))
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    p.add_argument("--kind", choices=WORLD_KINDS, default="room", help="kind of world")
    p.add_argument("--path", choices=WORLD_PATHS, default="orbit", help="how the camera moves")
    p.add_argument("--unposed", action="store_true", help="photos only, no transforms.json")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: _make(args))


def _make(args: argparse.Namespace) -> None:
    from geometry.worlds.capture import write_capture

    H, W = args.size
    shown = {"seed": args.seed, "views": args.views, "kind": args.kind, "path": args.path}
    write_capture(args.out, image_size=(H, W), posed=not args.unposed, **shown)
    note = "no cameras" if args.unposed else "cameras in transforms.json"
    print(f"{args.out}: {args.views} photos of {H} x {W} ({args.kind}, seed {args.seed}), {note}")

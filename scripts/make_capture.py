"""Make a sample capture: python scripts/make_capture.py --seed 7 --views 24 --size 540 960 --out DIR.

Writes JPEG photos of a procedural world, taken as a person would walk and film it, and a transforms.json
with their exact cameras in nerfstudio's form (--unposed leaves it out).
"""

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image

from geometry.atomic import atomic_folder
from geometry.errors import InputError, run_command
from geometry.scenes import transforms_json
from geometry.worlds import KINDS, procedural_world, render, sample_cameras
from geometry.worlds.paths import PATHS
from geometry.worlds.photometry import photograph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7, help="world and path follow from it")
    parser.add_argument("--views", type=int, default=24, help="number of photos")
    parser.add_argument("--size", type=int, nargs=2, default=(540, 960), metavar=("H", "W"))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--kind", choices=KINDS, default="room", help="kind of world")
    parser.add_argument("--path", choices=tuple(PATHS), default="orbit", help="how the camera moves")
    parser.add_argument("--unposed", action="store_true", help="photos only, no transforms.json")
    args = parser.parse_args()
    if args.seed < 0:
        raise InputError(f"--seed: expected a number from 0 on, got {args.seed}")
    if args.views < 1:
        raise InputError(f"--views: expected at least 1, got {args.views}")
    if min(args.size) < 16:
        raise InputError(f"--size: expected at least 16 pixels on a side, got {args.size[0]} {args.size[1]}")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f"{args.out}: expected a new or empty folder, got one with something in it")

    size = (args.size[0], args.size[1])
    scene = procedural_world(args.seed, args.kind, texture_size=512)
    generator = torch.Generator().manual_seed(args.seed)
    cameras = sample_cameras(scene, args.views, size, generator, args.path, zoom=False)
    radiance = render(scene, cameras, size).radiance[0]
    photos = photograph(radiance, generator, strength=0.5)
    names = [f"images/frame_{v + 1:05d}.jpg" for v in range(args.views)]
    with atomic_folder(args.out) as folder:
        (folder / "images").mkdir()
        for name, photo in zip(names, photos):
            pixels = (photo.permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(folder / name, quality=92, subsampling=0)
        if not args.unposed:
            transforms_json.write_scene(
                folder / "transforms.json",
                names,
                cameras.extrinsics[0].double().numpy(),
                cameras.intrinsics[0].double().numpy(),
                [size] * args.views,
            )
    note = "no cameras" if args.unposed else "cameras in transforms.json"
    what = f"{args.views} photos of {size[0]} x {size[1]} ({args.kind}, seed {args.seed})"
    print(f"{args.out}: {what}, {note}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

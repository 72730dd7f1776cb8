"""`geometry infer`: photos to depth, confidence, cameras and a coloured point cloud."""

import argparse
import shutil
from pathlib import Path

from geometry.commands.arguments import (
    add_model_arguments,
    add_photo_arguments,
    network_options,
    photo_options,
)
from geometry.console import Stopwatch, say
from geometry.errors import run_command


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry infer",
        description="Photos to depth (npz, PNG), confidence, cameras (transforms.json, COLMAP) and points "
        "(PLY, GLB).",
        epilog="Exit status: 0: done; 2: input or options that cannot be used, nothing is written; 3: "
        "written, but do not trust it: the network is too small to know depth or cameras (what to do is said "
        "at the end; docs/troubleshooting.md).",
    )
    add_photo_arguments(p)
    p.add_argument("--out", required=True, type=Path, help="output folder")
    add_model_arguments(p)
    p.add_argument(
        "--ray-pose", action="store_true", help="cameras from the ray maps instead of the camera decoder"
    )
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of --cameras sfm and the robust fit of cameras to rays (default 0)",
    )
    p.add_argument(
        "--conf-percentile",
        type=float,
        default=40.0,
        metavar="P",
        help="leave the least confident P%% of pixels out of the point cloud (default 40)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    import geometry
    from geometry.capture import check_choice, open_capture
    from geometry.chunks import work_folder
    from geometry.device import pick_device
    from geometry.results import INFERRED, require_results

    watch = Stopwatch()
    photos, running = photo_options(args), network_options(args)
    device = pick_device(running.device)
    require_results(args.out, INFERRED, [*args.photos, args.poses])
    check_choice(photos.camera_source)
    with watch("photos"):
        capture = open_capture(
            args.photos, photos, device, out=args.out, every_photo=photos.all_photos, partly=True
        )
    with watch("model"):
        model = geometry.load(args.model, running)
    scene = model.predict(
        capture,
        options=photos,
        ray_pose=args.ray_pose,
        seed=args.seed,
        watch=watch,
        work=work_folder(args.out),
    )
    with watch("write"):
        scene.save(args.out, conf_percentile=args.conf_percentile)
    shutil.rmtree(work_folder(args.out), ignore_errors=True)
    say(watch.summary())
    scene.verdict.tell()
    print(args.out)
    return scene.verdict.status

"""`nvs render`: photos to Gaussians, a video of novel views, depth and cameras."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from geometry.atomic import atomic_folder, require_folder
from geometry.cli import (
    Stopwatch,
    add_model_arguments,
    add_photo_arguments,
    announce,
    pick_device,
    positive,
    precision,
    say,
)
from geometry.errors import InputError, run_command
from geometry.intake import Intake, load_views, open_capture
from geometry.models.checkpoints import Checkpoint, find_checkpoint
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras, Views
from nvs.holdout import evaluate, place_targets
from nvs.metrics import METRICS
from nvs.outputs import write_outputs
from nvs.prune import prune
from nvs.splatter import Splats, load_splatter
from nvs.trajectories import PATHS, camera_path
from nvs.trajectories.files import cameras_from_file
from nvs.world import turn_cameras, turn_gaussians, y_up_turn

LONG_SIDE = 480  # of rendered views, unless --size says otherwise


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs render",
        description="Photos in, novel views out: Gaussians (PLY), a video, frames, depth and cameras.",
    )
    add_photo_arguments(p)
    p.add_argument("--out", required=True, type=Path, help="output folder")
    p.add_argument(
        "--context",
        type=positive,
        metavar="N",
        help="use N photos as input, chosen by farthest-point sampling (evenly without poses)",
    )
    p.add_argument(
        "--holdout",
        type=positive,
        metavar="N",
        help="keep every Nth photo out of the input and measure PSNR, SSIM and LPIPS against it",
    )
    add_model_arguments(p)
    g = p.add_argument_group("views")
    g.add_argument(
        "--path",
        default=None,
        help=f"camera path: {', '.join(PATHS)}, or a file of cameras (transforms.json); "
        "default spline, for one photo wander",
    )
    g.add_argument("--frames", type=positive, default=60, help="frames of orbit and spline (default 60)")
    g.add_argument("--fps", type=positive, default=24, help="of the video (default 24)")
    g.add_argument(
        "--size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        help=f"size of the rendered views (default: the photos' shape, long side {LONG_SIDE})",
    )
    g.add_argument(
        "--world",
        choices=("opencv", "y-up"),
        default="opencv",
        help="frame of every file written: opencv is the poses' own (unposed: the reference camera's, y "
        "down); y-up is turned so that y points up, for viewers that expect it",
    )
    g.add_argument("--no-prune", action="store_true", help="keep border, far and transparent Gaussians")
    g.add_argument(
        "--backend",
        choices=("auto", "cuda", "cpu", "torch"),
        default="auto",
        help="rasterizer (default auto)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


@torch.no_grad()
def run(args: argparse.Namespace) -> int:
    watch = Stopwatch()
    device = pick_device(args.device)
    require_folder(args.out)
    if args.path and args.path not in PATHS and not Path(args.path).is_file():
        raise InputError(f"--path {args.path}: neither a file of cameras nor one of {', '.join(PATHS)}")
    if args.holdout and args.holdout < 2:
        raise InputError(f"--holdout {args.holdout}: expected 2 or more, so that photos remain as input")
    with watch("photos"):
        intake = open_capture(args, device)
        views, maps = load_views(intake, intake.context, args, device)
    with watch("model"):
        checkpoint = find_checkpoint(args.model)
        announce(checkpoint)
        splatter, has_head = load_splatter(checkpoint)
        splatter = splatter.to(device)
        if not has_head and checkpoint.trained:
            say(
                f"{checkpoint.variant!r} has no Gaussian head: every pixel becomes one Gaussian of its own "
                "colour at the predicted depth"
            )
    with watch("network"), precision(args.precision, device):
        splats = splatter(views, reference=args.ref_view, chunk=args.chunk or 8)
    say(f"{splats.gaussians.means.shape[1]:,} Gaussians from {len(intake.context)} photos")

    size = tuple(args.size) if args.size else default_size(views.image_size)
    kept = splats.gaussians if args.no_prune else prune(splats)
    metrics = None
    if intake.targets:
        with watch("hold-out"):
            metrics = hold_out(args, intake, views, splatter, splats, kept, size, device)

    path = render_path(args, splats, views.image_size, size)
    if args.world == "y-up":
        turn = y_up_turn(splats.geometry.cameras)
        kept, path = turn_gaussians(kept, turn), turn_cameras(path, turn)
        cameras = turn_cameras(splats.geometry.cameras, turn)
        splats = replace(splats, geometry=replace(splats.geometry, cameras=cameras))
    with watch("render and write"), atomic_folder(args.out) as folder:
        write_outputs(
            folder,
            intake.names,
            views,
            splats.geometry,
            kept,
            path,
            size,
            fps=args.fps,
            backend=args.backend,
            about=describe(args, checkpoint, intake),
            note=None if checkpoint.trained else "UNTRAINED WEIGHTS: these pictures mean nothing",
        )
        if metrics is not None:
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    say(watch.summary())
    print(args.out / "video.mp4")
    return 0


def default_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the same shape with the long side at `LONG_SIDE`, both even, as video wants."""
    H, W = image_size
    factor = LONG_SIDE / max(H, W)
    return max(2, round(H * factor / 2) * 2), max(2, round(W * factor / 2) * 2)


def fit_cameras(cameras: Cameras, old: tuple[int, int], new: tuple[int, int]) -> Cameras:
    """Cameras for another image size and shape: scaled to cover it, cut at the centre, pixels square."""
    (h, w), (H, W) = old, new
    factor = max(H / h, W / w)
    K = resize_intrinsics(cameras.intrinsics, (1, 1), (factor, factor))
    shift = torch.zeros_like(K)
    shift[..., 0, 2], shift[..., 1, 2] = (w * factor - W) / 2, (h * factor - H) / 2
    return replace(cameras, intrinsics=K - shift)


def render_path(
    args: argparse.Namespace, splats: Splats, image_size: tuple[int, int], size: tuple[int, int]
) -> Cameras:
    """The cameras of the video, for images of ``size``."""
    geometry = splats.geometry
    V = geometry.depth.shape[1]
    name = args.path or ("spline" if V > 1 else "wander")
    if name not in PATHS:
        return cameras_from_file(name, size).to(geometry.depth)
    cameras = camera_path(name, geometry.cameras, image_size, depth=geometry.depth, frames=args.frames)
    return fit_cameras(cameras, image_size, size)


def hold_out(
    args: argparse.Namespace,
    intake: Intake,
    views: Views,
    splatter: torch.nn.Module,
    splats: Splats,
    kept: object,
    size: tuple[int, int],
    device: torch.device,
) -> dict[str, object]:
    """Metrics on the photos kept out, printed and returned."""
    targets, _ = load_views(intake, intake.targets, args, device)
    with precision(args.precision, device):
        holdout = place_targets(
            splatter.network,
            views,
            splats.geometry.cameras,
            targets,
            intake.target_names,
            size,
            reference=args.ref_view,
            chunk=args.chunk or 8,
        )
    metrics = evaluate(kept, holdout, backend=args.backend)
    metrics["context"] = intake.names
    for name in METRICS:
        value = metrics[name]
        print(
            f"{name} {value:.4f}" if value is not None else f"{name} not computed: {metrics['reasons'][name]}"
        )
    print(f"over {len(intake.targets)} photos kept out; target poses: {holdout.alignment}")
    return metrics


def describe(args: argparse.Namespace, checkpoint: Checkpoint, intake: Intake) -> dict[str, object]:
    """What was done, for the folder's scene.json."""
    posed = intake.scene.posed
    origin = (
        "the given poses' world" if posed else "the network's world: the reference camera's axes at its place"
    )
    return {
        "model": checkpoint.variant,
        "weights": checkpoint.source,
        "trained": checkpoint.trained,
        "licence": checkpoint.licence,
        "poses": intake.scene.source,
        "photos": len(intake.scene),
        "context": intake.names,
        "world": f"{origin}; "
        + (
            "turned so that +y is up and the first camera looks along -z"
            if args.world == "y-up"
            else "not turned (OpenCV cameras: x right, y down, z forward)"
        ),
    }

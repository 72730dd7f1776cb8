"""`nvs render`: photos to Gaussians, a video of novel views, depth and cameras."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.capture import Capture, check_choice, find_cameras, load_views, open_capture
from geometry.commands.arguments import add_model_arguments, add_photo_arguments, photo_options, positive
from geometry.console import Stopwatch, announce, say
from geometry.device import pick_device, precision
from geometry.errors import InputError, run_command
from geometry.ops.images import resize_images
from geometry.ops.pinhole import resize_intrinsics
from geometry.results import RENDERED, require_results, result_folder
from geometry.views import Cameras, Views
from geometry.weights.checkpoints import Checkpoint, find_checkpoint
from nvs.cameras import PATHS, camera_path
from nvs.cameras.files import cameras_from_file
from nvs.cameras.up_axis import turn_cameras, turn_gaussians, y_up_turn
from nvs.commands.outputs import write_outputs
from nvs.gaussians.files import select
from nvs.holdout import Holdout, evaluate, place_targets
from nvs.lift import (
    DEPTHS,
    REFINED_SPACING,
    SWEEP_SPACING,
    choose_depth,
    knows_depth,
    lift_network,
    lift_sweep,
    sweep_views,
)
from nvs.metrics import METRICS
from nvs.model.pooling import resize_cameras, spaced_grid
from nvs.model.prune import worth_keeping
from nvs.model.splatter import Splats, Splatter, load_splatter, owners
from nvs.rasterizer.backends import choose_backend
from nvs.refine.optimise import Refined, refine

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
    g = p.add_argument_group("Gaussians")
    g.add_argument(
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="where Gaussians lie: at the network's depth, or, for photos with poses, at that of a classical "
        "plane sweep; auto sweeps where poses are given and the model is tiny or untrained",
    )
    g.add_argument(
        "--spacing",
        type=_at_least_one,
        metavar="PX",
        help="one Gaussian every PX pixels of the network's images (default 1; 2 with swept depth, 4 with "
        "--refine)",
    )
    g.add_argument(
        "--refine",
        type=positive,
        default=0,
        metavar="STEPS",
        help="optimise the Gaussians on the input photos for at most STEPS steps; a few photos are kept out "
        "and watched, so that it stops when it no longer helps views it has not seen",
    )
    g.add_argument("--refine-cameras", action="store_true", help="optimise the photos' poses with them")
    g.add_argument("--seed", type=int, default=0, help="of --cameras sfm and --refine (default 0)")
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
        "--background",
        choices=("mean", "black", "white"),
        default="mean",
        help="colour of rendered views where no Gaussian is: the photos' mean (default), black or white",
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
    choose_backend(args.backend, device)  # here for its error or warning: before any work
    require_results(args.out, RENDERED, [*args.photos, args.poses])
    check_choice(args.cameras)
    if args.cameras == "auto" and args.unposed:
        args.cameras = "network"
    args.unposed = args.unposed or args.cameras in ("network", "sfm")
    if args.path and args.path not in PATHS and not Path(args.path).is_file():
        raise InputError(f"--path {args.path}: neither a file of cameras nor one of {', '.join(PATHS)}")
    if args.holdout and args.holdout < 2:
        raise InputError(f"--holdout {args.holdout}: expected 2 or more, so that photos remain as input")
    with watch("photos"):
        photos = photo_options(args)
        capture = open_capture(args.photos, photos, device, out=args.out)
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
    with watch("cameras"):
        capture = find_cameras(capture, args.cameras, trust_network=knows_depth(checkpoint), seed=args.seed)
    with watch("photos"):
        views, maps = load_views(capture, capture.context, photos, device)
    splats = make_splats(args, watch, views, splatter, checkpoint, has_head=has_head, device=device)
    say(f"{splats.gaussians.means.shape[1]:,} Gaussians from {len(capture.context)} photos")

    size = tuple(args.size) if args.size else default_size(views.image_size)
    keep = slice(None) if args.no_prune else worth_keeping(splats, predicted=args.depth == "network")
    kept = select(splats.gaussians, keep)
    background = background_colour(args.background, views)
    metrics, holdout = None, None
    if capture.targets:
        with watch("hold-out"):
            holdout = hold_out(args, capture, views, splatter.network, splats.geometry.cameras, size, device)
            metrics = evaluate(kept, holdout, background=background, backend=args.backend)
    if args.refine:
        with watch("refine"):
            photos = refinement_photos(args, capture, views, splats.geometry.cameras, size, device)
            refined = refine(
                kept,
                photos,
                steps=args.refine,
                seed=args.seed,
                owners=owners(splats)[keep],
                optimise_cameras=args.refine_cameras,
                background=background,
                backend=args.backend,
                report=say,
            )
        kept = refined.gaussians
        cameras = replace(splats.geometry.cameras, extrinsics=refined.cameras.extrinsics)
        splats = replace(splats, geometry=replace(splats.geometry, cameras=cameras))
        say(refined.summary)
        if holdout is not None:
            with watch("hold-out"):
                after = evaluate(kept, holdout, background=background, backend=args.backend)
                metrics = gained(metrics, after, refined)
    if metrics is not None:
        metrics["context"] = capture.names
        print_metrics(metrics, len(capture.targets))

    path = render_path(args, splats, views.image_size, size)
    if args.world == "y-up":
        turn = y_up_turn(splats.geometry.cameras)
        kept, path = turn_gaussians(kept, turn), turn_cameras(path, turn)
        cameras = turn_cameras(splats.geometry.cameras, turn)
        splats = replace(splats, geometry=replace(splats.geometry, cameras=cameras))
    with watch("render and write"), result_folder(args.out) as folder:
        write_outputs(
            folder,
            capture.names,
            views,
            splats.geometry,
            kept,
            path,
            size,
            fps=args.fps,
            background=background,
            backend=args.backend,
            about=describe(args, checkpoint, capture, background),
            note=untrained_note(checkpoint, args.depth),
        )
        if metrics is not None:
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    say(watch.summary())
    if args.depth == "sweep" and not args.refine:
        say("sharper: --refine 150, a quarter of a minute for a dozen photos on two cores")
    print(args.out / "video.mp4")
    return 0


def default_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the same shape with the long side at `LONG_SIDE`, both even, as video wants."""
    return scaled_size(image_size, LONG_SIDE)


def scaled_size(image_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) of the same shape with another long side, both even."""
    H, W = image_size
    factor = long_side / max(H, W)
    return max(2, round(H * factor / 2) * 2), max(2, round(W * factor / 2) * 2)


def _at_least_one(text: str) -> float:
    """argparse type: a number from 1 on."""
    value = float(text)
    if not value >= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text}")
    return value


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


def make_splats(
    args: argparse.Namespace,
    watch: Stopwatch,
    views: Views,
    splatter: Splatter,
    checkpoint: Checkpoint,
    *,
    has_head: bool,
    device: torch.device,
) -> Splats:
    """Gaussians of the views, at the depth and with the spacing that were asked for."""
    args.depth = choose_depth(args.depth, views=views, trust_network=knows_depth(checkpoint))
    sweep = args.depth == "sweep"
    spacing = args.spacing or (REFINED_SPACING if args.refine else SWEEP_SPACING if sweep else 1.0)
    grid = spaced_grid(views.image_size, spacing) if spacing > 1 else None
    options = {"reference": args.ref_view, "chunk": args.chunk or 8}
    if not sweep:
        with watch("network"), precision(args.precision, splatter):
            return lift_network(splatter, views, grid, **options)
    with watch("sweep"):
        stereo = sweep_views(views)
    share = float(stereo.trusted.float().mean())
    say(
        f"depth: plane sweep over the photos' poses, {share:.0%} of it trusted"
        + ("" if has_head else "; the network has no part in these Gaussians")
    )
    with watch("network"), precision(args.precision, splatter):
        return lift_sweep(splatter, views, stereo, grid or views.image_size, has_head=has_head, **options)


def refinement_photos(
    args: argparse.Namespace,
    capture: Capture,
    views: Views,
    cameras: Cameras,
    size: tuple[int, int],
    device: torch.device,
) -> Views:
    """The context photos with cameras, in their own shape, as large as the rendered views."""
    target = scaled_size(views.image_size, max(size))
    if views.cameras is not None and max(target) > max(views.image_size):
        # Only given cameras fit photos that are prepared anew: preparing may cut them by some pixels.
        finer = replace(photo_options(args), process_res=max(target))
        views, _ = load_views(capture, capture.context, finer, device)
        cameras = views.cameras
    return Views(
        images=resize_images(views.images, target),
        cameras=resize_cameras(cameras, views.image_size, target),
    )


def hold_out(
    args: argparse.Namespace,
    capture: Capture,
    views: Views,
    network: torch.nn.Module,
    cameras: Cameras,
    size: tuple[int, int],
    device: torch.device,
) -> Holdout:
    """The photos kept out, placed in the Gaussians' world."""
    targets, _ = load_views(capture, capture.targets, photo_options(args), device)
    with precision(args.precision, network):
        holdout = place_targets(
            network,
            views,
            cameras,
            targets,
            capture.target_names,
            size,
            reference=args.ref_view,
            chunk=args.chunk or 8,
        )
    if capture.scene.estimated:
        return replace(holdout, alignment=f"{capture.scene.source} over input and hold-out together")
    return holdout


def gained(before: dict[str, object], after: dict[str, object], refined: Refined) -> dict[str, object]:
    """Metrics after refinement, with what they were before and what a second of it brought."""
    gain, per_second = None, None
    if before["psnr"] is not None and after["psnr"] is not None:
        gain = after["psnr"] - before["psnr"]
        per_second = gain / max(refined.seconds, 1e-9)
    first = {name: before[name] for name in METRICS}
    return {
        **after,
        "refinement": {**refined.as_json(), "before": first, "gain_db": gain, "gain_db_per_s": per_second},
    }


def print_metrics(metrics: dict[str, object], targets: int) -> None:
    for name in METRICS:
        value = metrics[name]
        print(
            f"{name} {value:.4f}" if value is not None else f"{name} not computed: {metrics['reasons'][name]}"
        )
    print(f"over {targets} photos kept out; target poses: {metrics['alignment']}")
    refinement = metrics.get("refinement")
    if refinement and refinement["gain_db"] is not None:
        print(
            f"refinement: {refinement['before']['psnr']:.2f} dB before, {metrics['psnr']:.2f} after "
            f"{refinement['steps']} steps: {refinement['gain_db']:+.2f} dB in {refinement['seconds']:.1f} s, "
            f"{refinement['gain_db_per_s']:.3f} dB/s"
        )


def background_colour(name: str, views: Views) -> Float[Tensor, " 3"]:
    """The colour that ``--background`` names."""
    if name == "mean":
        return views.images.mean(dim=(0, 1, 3, 4))
    return views.images.new_full((3,), 1.0 if name == "white" else 0.0)


def untrained_note(checkpoint: Checkpoint, depth: str) -> str | None:
    """What to write across the contact sheet where random weights had a part in it."""
    if checkpoint.trained or depth == "sweep":
        return None
    return "UNTRAINED WEIGHTS: these pictures mean nothing"


def describe(
    args: argparse.Namespace, checkpoint: Checkpoint, capture: Capture, background: Float[Tensor, " 3"]
) -> dict[str, object]:
    """What was done, for the folder's scene.json."""
    posed = capture.scene.posed
    if capture.scene.estimated:
        origin = f"the world of {capture.scene.source}: the first placed photo's axes at its place, any scale"
    elif posed:
        origin = "the given poses' world"
    else:
        origin = "the network's world: the reference camera's axes at its place"
    return {
        "model": checkpoint.variant,
        "weights": checkpoint.source,
        "trained": checkpoint.trained,
        "licence": checkpoint.licence,
        "poses": capture.scene.source,
        "photos": len(capture.scene),
        "depth": args.depth,
        "refine_steps": args.refine,
        "background": [round(value, 4) for value in background.tolist()],
        "context": capture.names,
        "world": f"{origin}; "
        + (
            "turned so that +y is up and the first camera looks along -z"
            if args.world == "y-up"
            else "not turned (OpenCV cameras: x right, y down, z forward)"
        ),
    }

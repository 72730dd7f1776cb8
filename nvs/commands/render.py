"""`nvs render`: photos to Gaussians, a video of novel views, depth and cameras."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from geometry.commands.arguments import (
    add_model_arguments,
    add_photo_arguments,
    network_options,
    photo_options,
    positive,
)
from geometry.console import say
from geometry.errors import run_command
from geometry.options import named
from geometry.verdict import UNTRUSTED
from nvs.options import (
    BACKENDS,
    DEPTHS,
    LONG_SIDE,
    METRICS,
    PATHS,
    QUALITIES,
    VIDEO_SIDE,
    WORLDS,
    GaussianOptions,
    RenderOptions,
    ViewOptions,
)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs render",
        description="Photos in, novel views out: Gaussians (PLY), a video, frames, depth and cameras.",
        epilog="Exit status: 0: done; 2: input or options that cannot be used, nothing is written; "
        f"{UNTRUSTED}: rendered, but do not trust it: cameras could not be found or photos agree on too "
        "little depth (what to do is said at the end, and on the contact sheet; docs/troubleshooting.md).",
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
        help="hold every Nth photo out of the input and measure PSNR, SSIM and LPIPS against it",
    )
    add_model_arguments(p)
    g = p.add_argument_group("Gaussians")
    g.add_argument(
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="where Gaussians lie: at the network's depth, or, for photos with poses, at that of learned "
        "stereo or of a classical plane sweep; auto is stereo where poses are given and the model is tiny "
        "or untrained",
    )
    g.add_argument(
        "--spacing",
        type=float,
        metavar="PX",
        help="one Gaussian every PX pixels of the network's images (default 1; 2 with swept depth; wider "
        "where photos are many; where they are refined, a sample of those 2 apart)",
    )
    g.add_argument(
        "--gaussians",
        type=positive,
        metavar="N",
        help="merge those that say the same until at most N are left, in the middle of refinement",
    )
    g.add_argument("--compression", type=float, metavar="X", help="the same, until X times fewer are left")
    g.add_argument(
        "--quality",
        choices=QUALITIES,
        default="good",
        help="draft: one pass; good (default): the Gaussians are then optimised on the photos, for at most 4 "
        "minutes; best: for at most 20",
    )
    g.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="have the Gaussians ready N minutes after the start, instead of the quality's time; the video "
        "comes after that",
    )
    g.add_argument(
        "--refine",
        type=int,
        metavar="STEPS",
        help="optimise for STEPS steps, instead of what quality and minutes come to: the same number gives "
        "the same Gaussians on every run; 0 is a draft",
    )
    g.add_argument("--refine-cameras", action="store_true", help="optimise the photos' poses with them")
    g.add_argument(
        "--exposure",
        action="store_true",
        help="for photos that were not exposed alike: estimate each one's exposure and white balance, so "
        "that the Gaussians have the colours of the mean photo",
    )
    g.add_argument(
        "--moving",
        action="store_true",
        help="leave out what moved while the photos were taken: parts of a photo that show what the others "
        "do not (needs refinement, and takes twice as long)",
    )
    g.add_argument("--seed", type=int, default=0, help="of --cameras sfm and --refine (default 0)")
    g = p.add_argument_group("views")
    g.add_argument(
        "--path",
        help=f"camera path: {', '.join(PATHS)}, or a file of cameras (transforms.json); "
        "default spline, for one photo wander",
    )
    g.add_argument(
        "--frames",
        type=positive,
        default=120,
        help="frames of orbit and spline (default 120); other paths have their own number",
    )
    g.add_argument("--fps", type=positive, default=24, help="of the video (default 24)")
    g.add_argument(
        "--size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        help=f"size of the rendered views (default: the photos' shape, long side {VIDEO_SIDE}; where photos "
        f"are refined on and compared: {LONG_SIDE})",
    )
    g.add_argument(
        "--world",
        choices=WORLDS,
        default="opencv",
        help="frame of every file written: opencv is the poses' own (unposed: the reference camera's, y "
        "down); y-up is turned so that y points up, for viewers that expect it",
    )
    keep_all = "keep border, far and transparent Gaussians, and those that photos disagree with"
    g.add_argument("--no-prune", dest="prune", action="store_false", help=keep_all)
    g.add_argument("--backend", choices=BACKENDS, default="auto", help="rasterizer (default auto)")
    return p


def main(argv: list[str] | None = None) -> int:
    typed = sys.argv[1:] if argv is None else argv
    return run_command(lambda: run(parser().parse_args(typed), shlex.join(["nvs", "render", *typed])))


def run(args: argparse.Namespace, command: str) -> int:
    options = render_options(args)
    from geometry.results import written
    from nvs.rendering import render_photos

    rendered = render_photos(args.photos, args.out, options, command=command)
    for name, what in written(args.out):
        say(f"  {name:<18} {what}")
    if rendered.metrics is not None:
        print_metrics(rendered.metrics)
    print(args.out / "video.mp4")
    return rendered.verdict.status


def render_options(args: argparse.Namespace) -> RenderOptions:
    """What was typed, as records."""
    typed = vars(args)
    return RenderOptions(
        model=args.model,
        photos=photo_options(args),
        network=network_options(args),
        gaussians=named(GaussianOptions, typed),
        views=named(ViewOptions, typed | {"size": args.size and tuple(args.size)}),
    )


def print_metrics(metrics: dict[str, Any]) -> None:
    for name in METRICS:
        value, reasons = metrics[name], metrics["reasons"]
        print(f"{name} {value:.4f}" if value is not None else f"{name} not computed: {reasons[name]}")
    print(f"over {len(metrics['targets'])} held-out photos; target poses: {metrics['alignment']}")
    aligned = metrics["colour_aligned"]
    if all(value is not None for value in aligned.values()):
        print("after colour alignment: " + ", ".join(f"{m} {value:.4f}" for m, value in aligned.items()))
    refinement = metrics.get("refinement")
    if refinement and refinement["gain_db"] is not None:
        print(
            f"refinement: {refinement['before']['psnr']:.2f} dB before, {metrics['psnr']:.2f} after "
            f"{refinement['steps']} steps: {refinement['gain_db']:+.2f} dB in {refinement['seconds']:.1f} s, "
            f"{refinement['gain_db_per_s']:.3f} dB/s"
        )

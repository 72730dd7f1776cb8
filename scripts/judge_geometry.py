"""Depth and cameras that a network finds in posed captures, beside guessing: judge_geometry.py CAPTURE...

For every capture and every image size, over photos spread evenly along it:

- ``absrel`` and ``delta1`` of the depth with the cameras given, and without, against the depth of a plane
  sweep over the checked cameras where at least two views agree on it; one scale for all views of a capture.
  Beside it: one depth everywhere.
- ``auc3`` and ``auc30`` of the cameras found without any given. Beside them: the right cameras in a wrong
  order, mean of 50.

Prints a Markdown table. `nvs-eval` judges rendered views.
"""

import argparse
import sys
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.capture import load_views, open_capture
from geometry.commands.arguments import positive
from geometry.console import announce
from geometry.device import pick_device, precision
from geometry.errors import InputError, run_command
from geometry.metrics.depth import depth_metrics
from geometry.metrics.pose import pose_auc
from geometry.models.da3 import MonocularDepth
from geometry.options import PhotoOptions
from geometry.predict import predict_geometry
from geometry.views import Views
from geometry.weights.checkpoint import find_checkpoint, load_network
from nvs.model.pooling import sample
from nvs.stereo import StereoDepth

ORDERS = 50
TRUTH_RES = 504  # longest side of the images that are swept


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="+", help="folders of photos with poses")
    parser.add_argument("--model", default="tiny", help="as of geometry infer (default tiny)")
    parser.add_argument(
        "--sizes", nargs="+", type=positive, default=[TRUTH_RES], help="longest sides, pixels"
    )
    parser.add_argument("--views", type=positive, default=12, help="photos of each capture (default 12)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    checkpoint = find_checkpoint(args.model)
    announce(checkpoint)
    network = load_network(checkpoint).to(device).eval()
    if isinstance(network, MonocularDepth):
        raise InputError(f"--model {args.model}: expected an any-view network, got {checkpoint.variant}")

    columns = "absrel posed | unposed | one depth | delta1 posed | one depth"
    print(f"| capture | H x W | {columns} | auc3 | auc30 | wrong order |")
    print("|---|---|" + "---:|" * 8)
    for capture in args.captures:
        truth, trusted = swept(photos(capture, args.views, TRUTH_RES, device), capture)
        for size in args.sizes:
            views = photos(capture, args.views, size, device)
            with precision("float32", network):
                posed = predict_geometry(network, views)
                free = predict_geometry(network, replace(views, cameras=None))
            depths = (posed.depth, free.depth, truth.new_ones(1))
            absrel, delta = zip(*(depth_errors(depth, truth, trusted) for depth in depths))
            found, right = free.cameras.extrinsics[0].double(), views.cameras.extrinsics[0].double()
            auc, chance = pose_auc(found, right, (3, 30)), guessed_auc(right)
            H, W = views.image_size
            print(
                f"| {capture} | {H} x {W} | {absrel[0]:.3f} | {absrel[1]:.3f} | {absrel[2]:.3f} "
                f"| {delta[0]:.3f} | {delta[2]:.3f} | {auc[3]:.3f} | {auc[30]:.3f} | {chance:.3f} |",
                flush=True,
            )
    return 0


def photos(capture: str, count: int, size: int, device: torch.device) -> Views:
    """Posed views of a capture, ``size`` pixels along the longer side."""
    options = PhotoOptions(max_views=count, process_res=size)
    opened = open_capture(capture, options, device)
    views, _ = load_views(opened, opened.context, options, device)
    if views.cameras is None:
        raise InputError(f"{capture}: expected photos with poses, got photos without")
    return views


def swept(views: Views, capture: str) -> tuple[Float[Tensor, "1 V H W"], Bool[Tensor, "1 V H W"]]:
    """Depth of the plane sweep, and where it is to be believed."""
    stereo = StereoDepth().sweep(views)
    if not stereo.trusted.any():
        raise InputError(
            f"{capture}: expected photos that overlap, got none in which two views agree on a depth"
        )
    return stereo.depth, stereo.trusted


def depth_errors(
    depth: Tensor, truth: Float[Tensor, "1 V H W"], trusted: Bool[Tensor, "1 V H W"]
) -> tuple[float, float]:
    """absrel and delta1 after one scale for all views; ``depth`` may be one number."""
    if depth.numel() > 1:
        depth = sample(depth.float(), truth.shape[-2:])
    # One tall image: one scale for all views.
    tall = (x.expand_as(truth).flatten(1, 2) for x in (depth, truth, trusted))
    scores = depth_metrics(*tall, alignment="scale")
    return float(scores["abs_rel"]), float(scores["delta1"])


def guessed_auc(right: Float[Tensor, "V 4 4"]) -> float:
    """AUC at 30 degrees of the right cameras dealt to the wrong photos."""
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(right), generator=generator) for _ in range(ORDERS)]
    return sum(pose_auc(right[order], right, (30,))[30] for order in orders) / ORDERS


if __name__ == "__main__":
    sys.exit(run_command(main))

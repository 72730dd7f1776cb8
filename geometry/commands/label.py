"""`geometry label`: a teacher's depth over a data set, aligned to what was measured."""

import argparse
import os
from contextlib import nullcontext
from pathlib import Path

import torch

import geometry
from geometry.commands.arguments import add_model_arguments, network_options, positive
from geometry.console import listening, say
from geometry.datasets.registry import open_source
from geometry.device import pick_device, precision
from geometry.errors import InputError, run_command
from geometry.models.da3 import MonocularDepth
from geometry.training.labelling import LabelOptions, label_source, summary


def parser() -> argparse.ArgumentParser:
    default = LabelOptions()
    p = argparse.ArgumentParser(
        prog="geometry label",
        description="Dense depth labels: a teacher's relative depth brought to the scale of measured "
        "depth (or of sparse points) by a robust scale and shift, stored beside the data. Run again, it "
        "continues where it stopped; under torchrun the frames are shared out.",
    )
    p.add_argument("data", type=Path, help="folder of a data set")
    p.add_argument("--kind", default=None, help="its reader (default: recognised)")
    p.add_argument(
        "--folder", default=default.folder, help=f"name of the labels' folder (default {default.folder})"
    )
    p.add_argument(
        "--process-res",
        type=positive,
        default=default.process_res,
        metavar="PX",
        help=f"longest side the teacher sees ({default.process_res})",
    )
    p.add_argument(
        "--raw",
        action="store_true",
        help="store relative depth without alignment: for the monocular student, on images without depth",
    )
    p.add_argument(
        "--min-points",
        type=positive,
        default=default.min_points,
        help=f"measured depths expected (default {default.min_points})",
    )
    p.add_argument(
        "--max-scale-error",
        type=float,
        default=default.max_scale_error,
        metavar="SHARE",
        help=f"labels whose scale is less certain than this are refused ({default.max_scale_error})",
    )
    p.add_argument(
        "--max-residual",
        type=float,
        default=default.max_residual,
        metavar="SHARE",
        help="labels that miss their inliers among the measured depths by more than this are refused "
        f"({default.max_residual})",
    )
    p.add_argument("--again", action="store_true", help="label what is already labelled, too")
    p.add_argument("--seed", type=int, default=default.seed, help="of the robust fits (default 0)")
    add_model_arguments(p)
    p.set_defaults(model="mono-large")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = pick_device(args.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    options = LabelOptions(
        folder=args.folder,
        process_res=args.process_res,
        raw=args.raw,
        min_points=args.min_points,
        max_scale_error=args.max_scale_error,
        max_residual=args.max_residual,
        again=args.again,
        seed=args.seed,
    )
    source = open_source(args.data, args.kind)
    with listening(None) if rank else nullcontext():  # one process says what was loaded
        model = geometry.load(args.model, network_options(args), device=str(device))
    if not isinstance(model.network, MonocularDepth):
        raise InputError(
            f"--model {args.model}: expected a monocular network as teacher, got {model.variant}"
        )
    with precision(args.precision, model.network):
        counts = label_source(source, model.network, options, device, share=(rank, world))
    say(f"process {rank} of {world}: " + (summary(counts) if counts else "nothing left to do"))
    return 0

"""`geometry label`: a teacher's depth over a data set, aligned to what was measured."""

import argparse
import os
from contextlib import nullcontext
from pathlib import Path

from geometry.commands.arguments import add_model_arguments, add_record, natural, network_options
from geometry.console import listening, say
from geometry.errors import InputError, run_command
from geometry.options import LabelOptions, named


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry label",
        description="Dense depth labels: a teacher's relative depth brought to the scale of measured "
        "depth (or of sparse points) by a robust scale and shift, stored beside the data. Run again, it "
        "continues where it stopped; under torchrun the scenes are shared out.",
    )
    p.add_argument("data", type=Path, help="folder of a data set")
    p.add_argument("--kind", default=None, help="its reader (default: recognised)")
    add_record(
        p,
        LabelOptions(),
        {
            "--folder": "name of the labels' folder",
            "--process-res": "longest side the teacher sees, in pixels",
            "--raw": "relative depth without alignment: for the monocular student, on images without depth",
            "--min-points": "measured depths expected",
            "--max-scale-error": "labels whose scale is less certain than this share are refused",
            "--max-residual": "labels that miss their measured inliers by more than this share are refused",
            "--again": "label what is already labelled, too",
            "--batch": "photos that go through the teacher together",
            "--seed": "of the robust fits",
        },
    )
    workers = "processes that decode photos, and threads that align and write (default 4; 0: none and one)"
    p.add_argument("--workers", type=natural, default=LabelOptions.workers, help=workers)
    add_model_arguments(p)
    p.set_defaults(model="mono-large")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    import torch

    import geometry
    from geometry.datasets.registry import open_source
    from geometry.device import pick_device, precision
    from geometry.models.da3 import MonocularDepth
    from geometry.training.labelling import label_source, summary

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = pick_device(args.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    options = named(LabelOptions, vars(args))
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

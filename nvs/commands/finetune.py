"""`nvs finetune`: adapt a Gaussian head to one's own photos."""

import argparse
import json
import os
from functools import partial
from pathlib import Path

import torch

from geometry.capture import MAX_VIEWS
from geometry.commands.arguments import (
    add_model_arguments,
    add_photo_arguments,
    network_options,
    photo_options,
    positive,
)
from geometry.console import say
from geometry.device import pick_device
from geometry.engine import (
    DataStream,
    FitResult,
    FixedBatchSampler,
    Precision,
    Saving,
    Schedule,
    fit,
    is_first_process,
)
from geometry.errors import run_command
from geometry.results import require_run
from nvs.lift import DEPTHS, choose_depth, knows_depth
from nvs.losses import GaussianObjective
from nvs.metrics import MissingWeights, load_lpips
from nvs.rasterizer.backends import choose_backend
from nvs.training.capture import CaptureSamples, TrainingCapture, read_capture
from nvs.training.model import EXPORTS, TrainableSplatter, build_model, write_models
from nvs.training.step import GaussianHeadStep

# What fits one GPU, and what a CPU does in minutes.
DEFAULTS = {
    "cuda": {"process_res": 504, "context": 12, "steps": 2000, "targets": 4},
    "cpu": {"process_res": 252, "context": 6, "steps": 400, "targets": 2},
}
LPIPS_WEIGHT = 0.05  # DepthSplat's, as in `GaussianObjective`


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs finetune",
        description="Train the Gaussian head on your own photos: each PHOTOS is a folder or a video of one "
        "place. Every Nth photo is kept out and shows what is gained, from before the first step. The same "
        "command goes on where it was interrupted.",
    )
    add_photo_arguments(p, cameras=False)
    p.set_defaults(process_res=None)  # filled in by device
    p.add_argument("--out", required=True, type=Path, help="folder of the run")
    add_model_arguments(p)
    g = p.add_argument_group("training")
    g.add_argument("--steps", type=positive, help="updates (default 2000 on CUDA, 400 on CPU)")
    g.add_argument("--lr", type=float, help="peak (default 1e-3 for a new head, 1e-4 for a trained one)")
    g.add_argument("--context", type=positive, metavar="N", help="photos given in a step (default 12, CPU 6)")
    g.add_argument("--targets", type=positive, metavar="N", help="photos rendered in a step (4, CPU 2)")
    g.add_argument(
        "--holdout", type=positive, default=8, metavar="N", help="keep every Nth photo out (default 8)"
    )
    g.add_argument(
        "--flavour", choices=("rgb", "sh"), help="of a new head: plain colour, or SH and offsets (default sh)"
    )
    g.add_argument(
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="where Gaussians lie, as for nvs render: at the network's depth, or at that of a plane sweep "
        "over given poses; auto sweeps where the model is tiny or untrained",
    )
    g.add_argument("--new-head", action="store_true", help="start a new head even if the model has one")
    g.add_argument(
        "--backbone-factor",
        type=float,
        default=0.0,
        metavar="F",
        help="also train the backbone, at this factor on the learning rate (default 0: frozen)",
    )
    g.add_argument(
        "--lpips",
        type=float,
        default=None,
        metavar="W",
        help=f"weight of LPIPS (default {LPIPS_WEIGHT} where its trunk's weights are here, else 0)",
    )
    g.add_argument(
        "--context-sets", type=positive, default=16, metavar="N", help="sets of context photos (default 16)"
    )
    g.add_argument(
        "--cache-gb", type=float, default=4.0, metavar="GB", help="features of the frozen backbone kept (4)"
    )
    g.add_argument("--validate-every", type=positive, metavar="N", help="steps (default a tenth)")
    g.add_argument("--seed", type=int, default=0)
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    device = pick_device(args.device)
    choose_backend("auto", device)  # here for its warning: before any work
    require_run(args.out, EXPORTS, [*args.photos, args.poses])
    for name, value in DEFAULTS["cuda" if device.type == "cuda" else "cpu"].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.max_views = args.max_views or MAX_VIEWS.get(device.type, 16)

    torch.manual_seed(args.seed)
    model = build_model(
        args.model,
        flavour=args.flavour,
        new_head=args.new_head,
        lr_factors={"head": 1.0, "network": args.backbone_factor},
    ).to(device)
    captures = [
        read_capture(
            path,
            photo_options(args),
            model.network,
            network_options(args),
            device,
            context_sets=args.context_sets,
            targets=args.targets,
            seed=args.seed,
        )
        for path in args.photos
    ]
    result = train(args, model, captures, device)
    if is_first_process():
        report(args, model, result)
    return 0


def train(
    args: argparse.Namespace, model: TrainableSplatter, captures: list[TrainingCapture], device: torch.device
) -> FitResult:
    """Run the engine on the captures.

    Raises:
        InputError: ``--depth sweep`` and a capture without poses.
    """
    choices = [
        choose_depth(args.depth, views=c.case.context, trust_network=knows_depth(model.origin))
        for c in captures
    ]
    depth = "sweep" if "sweep" in choices else "network"  # a capture without poses has the network's anyway
    step = GaussianHeadStep(
        model,
        GaussianObjective(mse=1.0, lpips=lpips_weight(args.lpips), depth=0.0),  # photos bring no depth labels
        reference=args.ref_view,
        chunk=args.chunk or 4,
        depth=depth,
        cache_gb=args.cache_gb,
        validation=[capture.case for capture in captures],
        seed=args.seed,
    )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    rate = args.lr or (1e-4 if model.warm else 1e-3)
    half = args.precision == "bfloat16" or (args.precision == "auto" and device.type == "cuda")
    return fit(
        step,
        DataStream(CaptureSamples(captures, targets=args.targets), FixedBatchSampler(batch_size=processes)),
        partial(torch.optim.AdamW, lr=rate, weight_decay=0.01),
        steps=args.steps,
        out=args.out,
        seed=args.seed,
        schedule=Schedule(kind="cosine", warmup_steps=min(100, args.steps // 10), final_factor=0.05),
        precision=Precision(compute="bf16" if half else "float32"),
        saving=Saving(every=200, keep_last=1, best_metric="psnr", best_is="max"),
        validate_every=args.validate_every or max(1, args.steps // 10),
        validate_first=True,
        device=str(device),
        config={name: value if value is None else str(value) for name, value in vars(args).items()},
    )


def lpips_weight(wanted: float | None) -> float:
    """The weight asked for; by default LPIPS is used if it can be, and it is said if it cannot."""
    if wanted is not None:
        return wanted
    try:
        load_lpips("vgg")
    except MissingWeights as error:
        say(f"training without LPIPS (--lpips {LPIPS_WEIGHT} insists on it): {error}")
        return 0.0
    return LPIPS_WEIGHT


def report(args: argparse.Namespace, model: TrainableSplatter, result: FitResult) -> None:
    """Write the heads; say what was gained and how to use it."""
    if not result.finished:
        return
    write_models(model, result, args.out)
    lines = [json.loads(line) for line in (args.out / "log.jsonl").read_text().splitlines()]
    psnr = {e["step"]: e["metrics"]["psnr"] for e in lines if e["kind"] == "validation"}
    best = max(psnr, key=psnr.get)
    say(
        f"use it: nvs render {args.photos[0]} --out scene --model {args.out / 'best.safetensors'} "
        f"--process-res {args.process_res} --context {args.context}"
        + ("" if args.depth == "auto" else f" --depth {args.depth}")
    )
    print(f"held-out psnr={psnr[0]:.2f} at the start, {psnr[best]:.2f} best (step {best})", flush=True)

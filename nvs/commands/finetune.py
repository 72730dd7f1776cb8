"""`nvs finetune`: adapt a Gaussian head to one's own photos."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

from geometry.commands.arguments import (
    add_model_arguments,
    add_photo_arguments,
    network_options,
    photo_options,
    positive,
)
from geometry.console import say
from geometry.errors import run_command
from nvs.options import DEPTHS, LPIPS_WEIGHT, FinetuneOptions


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="nvs finetune",
        description="Train the Gaussian head on your own photos: each PHOTOS is a folder or a video of one "
        "place. Every Nth photo is held out and scored, from before the first step on. The same "
        "command resumes an interrupted run. Exit status 75: interrupted; 3: finished, not to be trusted.",
    )
    add_photo_arguments(p)
    p.set_defaults(process_res=None)  # filled in by device
    p.add_argument("--out", required=True, type=Path, help="folder of the run")
    add_model_arguments(p)
    g = p.add_argument_group("training")
    g.add_argument("--steps", type=positive, help="updates (default 2000 on CUDA, 400 on CPU)")
    g.add_argument("--lr", type=float, help="peak (default 1e-3 for a new head, 1e-4 for a trained one)")
    g.add_argument("--context", type=positive, metavar="N", help="photos given in a step (default 12, CPU 6)")
    g.add_argument("--targets", type=positive, metavar="N", help="photos rendered in a step (4, CPU 2)")
    g.add_argument(
        "--holdout", type=positive, default=8, metavar="N", help="hold every Nth photo out (default 8)"
    )
    g.add_argument(
        "--flavour", choices=("rgb", "sh"), help="of a new head: plain colour, or SH and offsets (default sh)"
    )
    g.add_argument(
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="where Gaussians lie, as for nvs render: at the network's depth, or at that of learned "
        "stereo or a plane sweep over given poses; auto is stereo where the model is tiny or untrained",
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
    g.add_argument(
        "--patience",
        type=positive,
        metavar="N",
        help="validations on end without a better one that end the run (default 3)",
    )
    penalty = "penalty on the Gaussians' mean {} (default 0)"
    g.add_argument("--opacity", type=float, metavar="W", help=penalty.format("opacity"))
    g.add_argument("--size", type=float, metavar="W", help=penalty.format("size in pixels"))
    g.add_argument("--seed", type=int, default=0)
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    from nvs.training.finetuning import finetune

    options = finetune_options(args)
    done = finetune(args.photos, args.out, options)
    if psnr := done.psnr:
        best = max(psnr, key=psnr.__getitem__)
        say(
            f"use it: nvs render {args.photos[0]} --out scene --model {args.out / 'best.safetensors'} "
            f"--process-res {options.photos.process_res} --context {options.photos.context}"
            + ("" if args.depth == "auto" else f" --depth {args.depth}")
            + ("" if args.cameras == "auto" else f" --cameras {args.cameras}")
        )
        print(f"held-out psnr={psnr[0]:.2f} at the start, {psnr[best]:.2f} best (step {best})", flush=True)
    done.verdict.tell()
    return done.status


def finetune_options(args: argparse.Namespace) -> FinetuneOptions:
    """What was typed, over the defaults of the device."""
    from geometry.device import pick_device
    from nvs.training.finetuning import default_options

    defaults = default_options(pick_device(args.device))
    typed = {name: value for name, value in vars(args).items() if value is not None}
    by_device = {name: getattr(defaults.photos, name) for name in ("context", "max_views", "process_res")}
    photos = replace(photo_options(args), **{name: typed.get(name, by_device[name]) for name in by_device})
    network = replace(network_options(args), chunk=args.chunk or defaults.network.chunk)
    typed |= {"photos": photos, "network": network}
    return replace(defaults, **{f.name: typed[f.name] for f in fields(defaults) if f.name in typed})

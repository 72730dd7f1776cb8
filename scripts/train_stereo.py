"""Train the stereo network that ships: train_stereo.py [OUT]. Stopped, the same command resumes.

Sweeps of procedural worlds are made once and kept under OUT/sweeps, some 20 MB each, half of them with
plants; then the network learns from crops of them, in bfloat16 where the processor has it.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from bundle_tiny import commit

from geometry.accelerate.products import formats
from geometry.engine import FixedBatchSampler, Precision, Saving, Schedule, fit, load_weights
from geometry.engine.loader import DataStream
from geometry.errors import run_command
from geometry.weights.checkpoint import BUNDLED
from geometry.weights.files import load_strict, read_safetensors, write_safetensors
from geometry.weights.hub import APACHE
from nvs.stereo.network import StereoNetwork
from nvs.training.stereo import StereoStep, SweepCrops, write_sweeps

SEED, HELD_OUT_SEED = 5, 777


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("outputs/stereo"))
    parser.add_argument("--worlds", type=int, default=400, help="clips to learn from (default 400)")
    parser.add_argument("--steps", type=int, default=6000, help="of four crops (default 6000)")
    parser.add_argument("--lr", type=float, default=2e-3, help="at its peak (default 2e-3)")
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to start from; default: none")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default 2)")
    parser.add_argument(
        "--file", type=Path, default=BUNDLED / "stereo.safetensors", help="written at the end"
    )
    args = parser.parse_args(argv)

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = StereoNetwork()
    if args.start:
        load_strict(network, read_safetensors(args.start)[0], str(args.start), what="the stereo network")
    held_out = write_sweeps(args.out / "sweeps" / "held_out", HELD_OUT_SEED, min(16, args.worlds))
    files = write_sweeps(args.out / "sweeps" / "training", SEED, args.worlds)
    result = fit(
        StereoStep(network, held_out),
        DataStream(SweepCrops(files), FixedBatchSampler(batch_size=4)),
        partial(torch.optim.AdamW, lr=args.lr, weight_decay=0.01),
        steps=args.steps,
        out=args.out / "run",
        ema_decay=0.995,
        schedule=Schedule(warmup_steps=50, final_factor=0.03),
        precision=Precision(compute="bf16" if torch.bfloat16 in formats() else "float32"),
        saving=Saving(every=100, keep_last=1),
        validate_every=500,
        log_every=25,
        tensorboard=False,
        device="cpu",
    )
    if not result.finished:
        return 75
    weights = load_weights(result.checkpoint)
    about = {
        "format": "feedforward-nvs-stereo/1",
        "description": "depth from a plane sweep; trained on this project's procedural world alone",
        "licence": APACHE,
        "recipe": "scripts/train_stereo.py",
        "steps": str(args.steps),
        "worlds": str(args.worlds),
        "commit": commit(),
        **{f"held_out_{k}": f"{v:.4f}" for k, v in result.metrics.items()},
    }
    write_safetensors(args.file, weights, about, dtype=torch.float16)
    print(f"{args.file}: {sum(w.numel() for w in weights.values()) / 1e6:.2f} M parameters, {result.metrics}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))

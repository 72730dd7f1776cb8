"""What training costs, computed: python scripts/training_cost.py [--peak TFLOPS] [--use SHARE].

Counts the floating-point operations of each model's forward and backward pass at 504 x 504 on torch's meta
device (no memory, no arithmetic), and multiplies by the recipe's tokens and steps. Nothing here is measured:
the hours follow from the peak and the share of it that you say training reaches.
"""

import argparse
import sys
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from geometry.commands.train import load_config
from geometry.errors import InputError, run_command
from geometry.training.architecture import any_view_network, monocular_network
from geometry.views import Views

ANY_VIEW = ("tiny", "small", "base", "large", "giant")
MONOCULAR = {"teacher": "mono-large", "mono": "mono-large", "metric": "metric-large"}
SIDE, PATCH = 504, 14
STATE_BYTES = 16  # float32 weight, gradient, and AdamW's two averages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peak", type=float, default=989, help="of the chip, TFLOP/s (default 989: H100, bf16)"
    )
    parser.add_argument("--use", type=float, default=0.3, help="share of it reached (default 0.3, a guess)")
    args = parser.parse_args()
    if not (args.peak > 0 and 0 < args.use <= 1):
        raise InputError(f"expected --peak > 0 and --use in 0..1, got {args.peak} and {args.use}")
    print(
        f"{'model':9} {'params':>8} {'state':>9} {'views':>5} {'an update':>13} {'the run':>13} {'hours':>6}"
    )
    for name in (*(f"da3_{size}" for size in ANY_VIEW), *MONOCULAR):
        cfg = load_config([f"experiment=geometry/{name}"])
        views = cfg.data.sampler.tokens / (SIDE // PATCH) ** 2
        parameters, per_view = count(name, again=cfg.loop.activation_checkpointing)
        update = views * per_view
        run = update * cfg.loop.steps
        hours = run / (args.peak * 1e12 * args.use) / 3600
        print(
            f"{name:9} {parameters / 1e6:6.0f} M {parameters * STATE_BYTES / 1e9:6.1f} GB {views:5.0f} "
            f"{update / 1e12:7.0f} TFLOP {run / 1e18:7.1f} EFLOP {hours:6.0f}"
        )
    return 0


def count(
    name: str, *, again: bool, views: int = 10, size: tuple[int, int] = (SIDE, SIDE)
) -> tuple[int, float]:
    """Parameters, and operations per view of a training step.

    Operations within a view do not depend on the number of views and those across views grow linearly with
    it, so 10, the mean of 2 to 18, gives the recipe's mean cost.

    Args:
        again: activation checkpointing: the backbone runs forward twice.
        views: of a sample; monocular models have one.
        size: (H, W).
    """
    V = 1 if name in MONOCULAR else views
    # Autocast does not know the meta device; precision changes no count.
    with torch.device("meta"), patch("torch.autocast", lambda *a, **k: nullcontext()):
        batch = Views(images=torch.empty(1, V, 3, *size))
        with FlopCounterMode(display=False) as counter:
            if name in MONOCULAR:
                network = monocular_network(MONOCULAR[name])
                features = network.encode(batch.images)
                backbone = counter.get_total_flops()
                out = network.decode(features, chunk=V, sky_fill=False)
            else:
                network = any_view_network(name.removeprefix("da3_"))
                features = network.encode(batch.images, reference=torch.zeros(1, dtype=torch.long))
                backbone = counter.get_total_flops()
                out = network.decode(features, chunk=V)
            outputs = (out.depth, out.depth_conf, out.rays, out.ray_conf, out.pose_encoding, out.sky)
            sum(o.sum() for o in outputs if o is not None).backward()
            total = counter.get_total_flops()
    return sum(p.numel() for p in network.parameters()), (total + again * backbone) / V


if __name__ == "__main__":
    sys.exit(run_command(main))

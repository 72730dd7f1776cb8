"""What training costs, measured: tokens/s, memory, share of the chip's speed, and how many views fit.

    python scripts/bench_training.py                         # small to giant, 18 views of 504 x 504
    python scripts/bench_training.py --models large --samples 2 --views 10
    python scripts/bench_training.py --most-views            # CUDA: the longest sample that fits
    python scripts/bench_training.py --attention             # CUDA: kernels of attention across views

An update is one of the training engine on the model's experiment (`geometry train
experiment=geometry/da3_<model>`), its losses, number formats, activation checkpointing and optimizer; of one
micro-batch, which is noise that lies on the device, so no time goes to data. ``--override`` takes any
override of that command. Each model is measured in a process of its own.

Printed, beside seconds, tokens/s and peak memory: TFLOP/s of forward and backward pass, counted as
`training_cost.py` does but without what activation checkpointing repeats (the customary "model" operations);
its share of what a large matrix product in the same number format reaches in the same process; and, with
``--peak``, its share of the chip's rated TFLOP/s.
"""

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from training_cost import count

from geometry.commands.configuration import instantiate
from geometry.commands.train import load_config
from geometry.engine import DataStream, FixedBatchSampler, SampleRequest, fit
from geometry.engine.precision import FORMATS
from geometry.errors import InputError, run_command
from geometry.ops.pinhole import intrinsics_matrix
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.tensors import collate
from geometry.training.architecture import any_view_network
from geometry.views import Cameras, Example, Truth, Views

PATCH = 14
UNTIMED = 2  # calls before the timed ones
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    device = torch.device(args.device)
    if (args.most_views or args.attention) and device.type != "cuda":
        raise InputError(f"--most-views and --attention: expected a CUDA device, got {device}")
    if args.task:
        task = {"speed": speed, "most": most_views, "attention": attention_kernels}[args.task]
        print(json.dumps(task(args, args.models[0], device)))
        return 0
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {chip}, {torch.get_num_threads()} CPU threads", flush=True)
    if args.attention:
        report_attention(args)
    elif args.most_views:
        report_most_views(args)
    else:
        report_speed(args)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = ("tiny", "small", "base", "large", "giant")
    parser.add_argument("--models", nargs="+", default=list(sizes[1:]), choices=sizes)
    parser.add_argument("--samples", type=int, default=1, help="of a micro-batch (1)")
    parser.add_argument("--views", type=int, default=18, help="of a sample (18)")
    parser.add_argument("--size", type=size_of, default=(504, 504), help="H x W, multiples of 14 (504x504)")
    parser.add_argument("--updates", type=int, default=10, help="timed, after two that are not (10)")
    parser.add_argument("--peak", type=float, help="rated TFLOP/s of the chip in this format")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--override", nargs="*", default=[], help="as given to geometry train")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--most-views", action="store_true", help="the longest sample that fits, to 5 %%")
    what.add_argument("--attention", action="store_true", help="time kernels of attention across views")
    parser.add_argument("--task", choices=("speed", "most", "attention"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if min(args.samples, args.views, args.updates) < 1:
        parser.error("--samples, --views and --updates must be at least 1")
    return args


def size_of(text: str) -> tuple[int, int]:
    H, _, W = text.partition("x")
    if not (H.isdigit() and W.isdigit()) or int(H) % PATCH or int(W) % PATCH or not int(H) or not int(W):
        raise argparse.ArgumentTypeError(f"expected HxW, multiples of {PATCH}, got {text!r}")
    return int(H), int(W)


# ---------------------------------------------------------------------- updates


@dataclass(frozen=True, kw_only=True)
class Measured:
    parameters: int
    seconds: float  # of an update, median
    peak: int  # bytes
    compute: str  # number format


class Enough(Exception):
    """Ends a run whose updates have been timed, before it would write a checkpoint."""


def run_updates(
    args: argparse.Namespace, model: str, device: torch.device, *, samples: int, views: int, updates: int
) -> Measured:
    """Train with `geometry.engine.fit` for two updates and so many that are timed."""
    cfg = load_config([f"experiment=geometry/da3_{model}", "init=null", *args.override])
    sampler = FixedBatchSampler(batch_size=samples, image_size=args.size, views=views)
    torch.manual_seed(0)
    step = instantiate(cfg.step)
    begun: list[float] = []

    def clock(index: int, steps: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index == UNTIMED:
            reset_peak(device)
        begun.append(time.perf_counter())
        if index == UNTIMED + updates:
            raise Enough

    step.begin_step = clock  # the engine tells it which update comes next
    loop = instantiate(cfg.loop) | {
        "steps": UNTIMED + updates + 1,
        "accumulate": 1,
        "validate_every": None,
        "validate_first": False,
        "tensorboard": False,
        "device": str(device),
    }
    with tempfile.TemporaryDirectory() as out, suppress(Enough):
        data = DataStream(Noise(views, args.size, device), sampler)
        fit(step, data, instantiate(cfg.optimizer), **loop, out=out)
    times = begun[UNTIMED:]
    return Measured(
        parameters=sum(p.numel() for p in step.model.parameters()),
        seconds=statistics.median(end - begin for begin, end in pairwise(times)),
        peak=peak_bytes(device),
        compute=cfg.loop.precision.compute,
    )


class Noise:
    """One sample, on the device from the start: images and depth of noise, cameras side by side."""

    collate = staticmethod(collate)

    def __init__(self, views: int, size: tuple[int, int], device: torch.device) -> None:
        H, W = size
        draw = torch.Generator().manual_seed(0)
        extrinsics = torch.eye(4).repeat(1, views, 1, 1)
        extrinsics[..., 0, 3] = torch.linspace(0, 1, views)
        focal = torch.full((1, views, 2), 0.8 * max(size))
        principal = torch.tensor([W / 2, H / 2]).expand(1, views, 2)
        sample = Example(
            views=Views(images=torch.rand(1, views, 3, H, W, generator=draw)),
            truth=Truth(
                cameras=Cameras(extrinsics=extrinsics, intrinsics=intrinsics_matrix(focal, principal)),
                depth=1 + torch.rand(1, views, H, W, generator=draw),
                valid=torch.ones(1, views, H, W, dtype=torch.bool),
                metric=torch.zeros(1, dtype=torch.bool),
            ),
        )
        self.sample = sample.to(device)

    def __getitem__(self, request: SampleRequest) -> Example:
        return self.sample


# ---------------------------------------------------------------------- speed


def speed(args: argparse.Namespace, model: str, device: torch.device) -> dict[str, float]:
    m = run_updates(args, model, device, samples=args.samples, views=args.views, updates=args.updates)
    _, per_view = count(f"da3_{model}", again=False, views=args.views, size=args.size)
    return {
        "parameters": m.parameters,
        "seconds": m.seconds,
        "peak": m.peak,
        "rate": args.samples * args.views * per_view / m.seconds,
        "product": product_rate(device, FORMATS[m.compute]),
    }


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large square matrix product: what the chip gives in practice."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, device, times=10)


def seconds_of(call: Callable[[], object], device: torch.device, *, times: int) -> float:
    """Median of so many calls, after some that are not timed."""
    seconds = []
    for _ in range(UNTIMED + times):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[UNTIMED:])


def report_speed(args: argparse.Namespace) -> None:
    H, W = args.size
    print(f"updates of {args.samples} x {args.views} views of {H} x {W}\n")
    columns = (
        "model | parameters | s | tokens/s | images/s | peak GB | TFLOP/s | of a bare product | of the peak"
    )
    print(f"| {columns} |\n|" + "---|" * 9)
    for model in args.models:
        m = in_process(args, "speed", model)
        if "error" in m:
            print(f"| {model} | {m['error']} |" + " |" * 7, flush=True)
            continue
        images = args.samples * args.views / m["seconds"]
        rated = f"{100 * m['rate'] / args.peak / 1e12:.0f} %" if args.peak else "not given"
        print(
            f"| {model} | {m['parameters'] / 1e6:.0f} M | {m['seconds']:.3g} "
            f"| {images * (H // PATCH) * (W // PATCH):,.0f} | {images:.3g} | {m['peak'] / 1e9:.1f} "
            f"| {m['rate'] / 1e12:.3g} | {100 * m['rate'] / m['product']:.0f} % "
            f"of {m['product'] / 1e12:.3g} | {rated} |",
            flush=True,
        )


# ---------------------------------------------------------------------- how many views fit


def most_views(args: argparse.Namespace, model: str, device: torch.device) -> dict[str, float]:
    def peak(views: int) -> int:
        return run_updates(args, model, device, samples=1, views=views, updates=1).peak

    def fits(views: int) -> bool:
        try:
            peak(views)
            fit_in = True
        except torch.OutOfMemoryError:
            fit_in = False
        # Only here, where the error no longer holds on to the tensors of the failed update.
        gc.collect()
        torch.cuda.empty_cache()
        return fit_in

    few, more = peak(4), peak(8)
    room = torch.cuda.mem_get_info(device)[1] - few
    low, high = bracket(fits, max(8, 4 + int(4 * room / max(more - few, 1))))
    return {"low": low, "high": high, "per_view": (more - few) / 4}


def bracket(fits: Callable[[int], bool], guess: int, share: float = 0.05) -> tuple[int, int]:
    """The most known to fit and the fewest known not to, neighbours or within ``share``; 0 if one does not.

    Args:
        guess: where to start, at least 1.
    """
    low, high = (guess, None) if fits(guess) else (0, guess)
    while high is None:
        more = max(low + 1, math.floor(low * (1 + share)))
        low, high = (more, None) if fits(more) else (low, more)
    while low == 0 and high > 1:
        fewer = min(high - 1, math.ceil(high * (1 - share)))
        low, high = (fewer, high) if fits(fewer) else (0, fewer)
    return low, high


def report_most_views(args: argparse.Namespace) -> None:
    print(f"one sample of views of {args.size[0]} x {args.size[1]}, trained\n")
    print("| model | views that fit | that do not | GB a view |\n|---|---|---|---|")
    for model in args.models:
        m = in_process(args, "most", model)
        if "error" in m:
            print(f"| {model} | {m['error']} | | |", flush=True)
        else:
            print(f"| {model} | {m['low']} | {m['high']} | {m['per_view'] / 1e9:.2f} |", flush=True)


# ---------------------------------------------------------------------- attention


def attention_kernels(args: argparse.Namespace, model: str, device: torch.device) -> dict[str, float | None]:
    """Operations per second of attention across views, forward and backward, by kernel; None: not there."""
    with torch.device("meta"):
        vit = any_view_network(model).backbone
    tokens = args.views * (1 + (args.size[0] // PATCH) * (args.size[1] // PATCH))
    heads = vit.blocks[0].attn.heads
    shape = (args.samples, heads, tokens, vit.head_dim)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for _ in range(3))
    operations = 14 * args.samples * heads * tokens**2 * vit.head_dim  # two products forward, five back

    def xformers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from xformers.ops import memory_efficient_attention

        return memory_efficient_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)

    rates: dict[str, float | None] = {}
    for name in ("as chosen", *KERNELS, "xformers"):
        call = xformers if name == "xformers" else F.scaled_dot_product_attention

        def both_ways(call: Callable[..., Tensor] = call) -> None:
            torch.autograd.grad(call(q, k, v).sum(), (q, k, v))

        try:
            with sdpa_kernel(KERNELS[name]) if name in KERNELS else nullcontext():
                rates[name] = operations / seconds_of(both_ways, device, times=args.updates)
        except (ImportError, RuntimeError) as error:
            print(f"{model}, {name}: {error}", file=sys.stderr)
            rates[name] = None
    return rates


def report_attention(args: argparse.Namespace) -> None:
    print(f"attention across {args.views} views, forward and backward, bfloat16, TFLOP/s\n")
    print("| model | as chosen by PyTorch | " + " | ".join([*KERNELS, "xformers"]) + " |")
    print("|" + "---|" * (len(KERNELS) + 3))
    for model in args.models:
        rates = in_process(args, "attention", model)
        cells = [rates["error"]] if "error" in rates else rates.values()
        text = ["not there" if x is None else x if isinstance(x, str) else f"{x / 1e12:.0f}" for x in cells]
        print(f"| {model} | " + " | ".join(text) + " |", flush=True)


# ---------------------------------------------------------------------- processes


def in_process(args: argparse.Namespace, task: str, model: str) -> dict:
    """One task for one model in a fresh process; ``error`` where it did not come to an end."""
    print(f"measuring {model}", file=sys.stderr, flush=True)
    H, W = args.size
    command = [sys.executable, __file__, "--task", task, "--models", model, "--size", f"{H}x{W}"]
    for option in ("samples", "views", "updates", "device"):
        command += [f"--{option}", str(getattr(args, option))]
    result = subprocess.run([*command, "--override", *args.override], capture_output=True, text=True)
    if result.returncode:
        sys.stderr.write(result.stderr)
        return {"error": "out of memory" if "OutOfMemoryError" in result.stderr else "failed"}
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(run_command(main))

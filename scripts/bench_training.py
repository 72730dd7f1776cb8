"""What training costs: tokens/s, memory, share of the chip's speed, how many views fit, hours of a whole run.

    python scripts/bench_training.py                         # small to giant, 18 views of 504 x 504
    python scripts/bench_training.py --models large --samples 2 --views 10
    python scripts/bench_training.py --most-views            # CUDA: the longest sample that fits
    python scripts/bench_training.py --attention             # CUDA: kernels of attention across views
    python scripts/bench_training.py --recipe                # counted, not measured: whole experiments

An update is one of the training engine on `geometry train experiment=geometry/da3_<model>`, of one
micro-batch of noise that lies on the device, so no time goes to data; ``--override`` is for that command.
Each model is measured in a process of its own. TFLOP/s are those of forward and backward pass as torch's
counter sees them (products and convolutions), without what activation checkpointing repeats; beside them
stands what a large matrix product reaches in the same number format.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from geometry.commands.configuration import instantiate
from geometry.commands.train import load_config
from geometry.engine import DataStream, FixedBatchSampler, SampleRequest, fit
from geometry.engine.precision import FORMATS
from geometry.errors import InputError, run_command
from geometry.ops.pinhole import intrinsics_matrix
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.tensors import collate
from geometry.training.architecture import any_view_network, monocular_network
from geometry.views import Cameras, Example, Truth, Views

PATCH = 14
SIZES = ("tiny", "small", "base", "large", "giant")
MONOCULAR = {"teacher": "mono-large", "mono": "mono-large", "metric": "metric-large"}
STATE_BYTES = 16  # float32 weight, gradient, and AdamW's two averages
UNTIMED = 2  # updates before the timed ones
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if (args.most_views or args.attention) and not args.device.startswith("cuda"):
        raise InputError(f"--most-views and --attention: expected a CUDA device, got {args.device}")
    if args.recipe:
        report_recipe(args)
        return 0
    chip = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else "CPU"
    print(f"torch {torch.__version__}, {chip}, {torch.get_num_threads()} CPU threads; ", end="")
    print(f"{args.samples} x {args.views} views of {args.size[0]} x {args.size[1]}\n")
    if args.attention:
        measure, columns = attention, f"as PyTorch chooses, TFLOP/s | {' | '.join(KERNELS)} | xformers"
    elif args.most_views:
        measure, columns = most_views, "views that fit | that do not | GB a view"
    else:
        measure = speed
        columns = "parameters | s | tokens/s | images/s | peak GB | TFLOP/s | of a bare product | of the peak"
    print(f"| model | {columns} |\n|{'---|' * (columns.count('|') + 2)}", flush=True)
    for model in args.models:
        # A fresh process: one model's memory, and its running out of it, are not another's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                cells = pool.submit(measure, args, model).result()
            except torch.OutOfMemoryError:
                cells = "out of memory"
        print(f"| {model} | {cells} |", flush=True)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(SIZES[1:]), choices=SIZES)
    parser.add_argument("--samples", type=int, default=1, help="of a micro-batch (1)")
    parser.add_argument("--views", type=int, default=18, help="of a sample (18)")
    parser.add_argument("--size", type=size_of, default=(504, 504), help="H x W, multiples of 14 (504x504)")
    parser.add_argument("--updates", type=int, default=10, help="timed, after two that are not (10)")
    parser.add_argument("--peak", type=float, help="rated TFLOP/s of the chip in this format")
    parser.add_argument("--use", type=float, default=0.3, help="share of it that --recipe reckons with (0.3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--override", nargs="*", default=[], help="as given to geometry train")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--most-views", action="store_true", help="the longest sample that fits, to 5 %%")
    what.add_argument("--attention", action="store_true", help="time kernels of attention across views")
    what.add_argument("--recipe", action="store_true", help="count operations and hours of whole trainings")
    args = parser.parse_args(argv)
    if min(args.samples, args.views, args.updates) < 1 or not 0 < args.use <= 1:
        parser.error("--samples, --views and --updates must be at least 1, --use in 0..1")
    return args


def size_of(text: str) -> tuple[int, int]:
    H, _, W = text.partition("x")
    if not (H.isdigit() and W.isdigit()) or int(H) % PATCH or int(W) % PATCH or not int(H) or not int(W):
        raise argparse.ArgumentTypeError(f"expected HxW, multiples of {PATCH}, got {text!r}")
    return int(H), int(W)


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


class Enough(Exception):
    """Ends a run whose updates have been timed, before it would write a checkpoint."""


def run_updates(
    args: argparse.Namespace, model: str, *, samples: int, views: int, updates: int
) -> tuple[float, int, int, str]:
    """Train with `geometry.engine.fit`: seconds an update (median), peak bytes, parameters, number format."""
    device = torch.device(args.device)
    cfg = load_config([f"experiment=geometry/da3_{model}", "init=null", *args.override])
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
    sampler = FixedBatchSampler(batch_size=samples, image_size=args.size, views=views)
    with tempfile.TemporaryDirectory() as out, suppress(Enough):
        data = DataStream(Noise(views, args.size, device), sampler)
        fit(step, data, instantiate(cfg.optimizer), **loop, out=out)
    seconds = statistics.median(end - begin for begin, end in pairwise(begun[UNTIMED:]))
    parameters = sum(p.numel() for p in step.model.parameters())
    return seconds, peak_bytes(device), parameters, cfg.loop.precision.compute


def speed(args: argparse.Namespace, model: str) -> str:
    seconds, peak, parameters, compute = run_updates(
        args, model, samples=args.samples, views=args.views, updates=args.updates
    )
    images, tokens = args.samples * args.views / seconds, args.size[0] * args.size[1] // PATCH**2
    rate = images * count(f"da3_{model}", again=False, views=args.views, size=args.size)[1]
    side = 8192 if args.device.startswith("cuda") else 2048
    a, b = (torch.randn(side, side, device=args.device).to(FORMATS[compute]) for _ in range(2))
    product = 2 * side**3 / Timer("a @ b", globals={"a": a, "b": b}).blocked_autorange().median
    rated = f"{rate / args.peak / 1e12:.0%}" if args.peak else "not given"
    return (
        f"{parameters / 1e6:.0f} M | {seconds:.3g} | {images * tokens:,.0f} | {images:.3g} "
        f"| {peak / 1e9:.1f} | {rate / 1e12:.3g} | {rate / product:.0%} of {product / 1e12:.3g} | {rated}"
    )


def most_views(args: argparse.Namespace, model: str) -> str:
    def peak(views: int) -> int:
        return run_updates(args, model, samples=1, views=views, updates=1)[1]

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
    room = torch.cuda.mem_get_info(args.device)[1] - few
    low, high = bracket(fits, max(8, 4 + int(4 * room / max(more - few, 1))))
    return f"{low} | {high} | {(more - few) / 4e9:.2f}"


def bracket(fits: Callable[[int], bool], guess: int, share: float = 0.05) -> tuple[int, int]:
    """The most known to fit and the fewest known not to: neighbours, or within ``share``; 0 if 1 does not."""
    low, high = 0, guess
    while fits(high):
        low, high = high, high + max(1, int(share * high))
    while high - low > max(1, share * high):
        middle = max((low + high) // 2, int((1 - share) * high))  # the guess is near
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low, high


def attention(args: argparse.Namespace, model: str) -> str:
    """TFLOP/s of attention across views, forward and backward, bfloat16, by kernel."""
    with torch.device("meta"):
        vit = any_view_network(model).backbone
    tokens = args.views * (1 + args.size[0] * args.size[1] // PATCH**2)
    shape = (args.samples, vit.blocks[0].attn.heads, tokens, vit.head_dim)
    draw = partial(torch.randn, shape, device=args.device, dtype=torch.bfloat16, requires_grad=True)
    q, k, v = draw(), draw(), draw()
    operations = 14 * shape[0] * shape[1] * tokens**2 * vit.head_dim  # two products forward, five back

    def xformers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from xformers.ops import memory_efficient_attention

        return memory_efficient_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)

    def both_ways(call: Callable[..., Tensor]) -> Any:
        return torch.autograd.grad(call(q, k, v).sum(), (q, k, v))

    cells = []
    for name in ("as chosen", *KERNELS, "xformers"):
        call = xformers if name == "xformers" else F.scaled_dot_product_attention
        timer = Timer("both_ways(call)", globals={"both_ways": both_ways, "call": call})
        try:
            with sdpa_kernel(KERNELS[name]) if name in KERNELS else nullcontext():
                cells.append(f"{operations / timer.blocked_autorange(min_run_time=1).median / 1e12:.0f}")
        except (ImportError, RuntimeError) as error:
            print(f"{model}, {name}: {error}", file=sys.stderr)
            cells.append("not there")
    return " | ".join(cells)


def report_recipe(args: argparse.Namespace) -> None:
    """Parameters, state, images an update, operations and hours of the experiments as they are written."""
    columns = "experiment | parameters | state | images an update | an update | the run | hours on one chip"
    print(f"| {columns} |\n|{'---|' * 7}")
    for name in (*(f"da3_{size}" for size in SIZES), *MONOCULAR):
        cfg = load_config([f"experiment=geometry/{name}"])
        images = cfg.data.sampler.tokens / (504 // PATCH) ** 2
        parameters, per_image = count(name, again=cfg.loop.activation_checkpointing)
        run = images * per_image * cfg.loop.steps
        print(
            f"| `{name}` | {parameters / 1e6:.0f} M | {parameters * STATE_BYTES / 1e9:.1f} GB | {images:.0f} "
            f"| {images * per_image / 1e12:.0f} TFLOP | {run / 1e18:.0f} EFLOP "
            f"| {run / ((args.peak or 989) * 1e12 * args.use) / 3600:.0f} |"
        )


def count(
    name: str, *, again: bool, views: int = 10, size: tuple[int, int] = (504, 504)
) -> tuple[int, float]:
    """Parameters, and operations per view of a training step, on the meta device.

    Operations within a view do not depend on the number of views and those across views grow linearly with
    it, so 10, the mean of 2 to 18, gives the recipe's mean cost.

    Args:
        again: activation checkpointing: the backbone runs forward twice.
        views: of a sample; monocular models have one.
    """
    V = 1 if name in MONOCULAR else views
    # Autocast does not know the meta device; precision changes no count.
    with torch.device("meta"), patch("torch.autocast", lambda *a, **k: nullcontext()):
        images = torch.empty(1, V, 3, *size)
        with FlopCounterMode(display=False) as counter:
            if name in MONOCULAR:
                network, options = monocular_network(MONOCULAR[name]), {"sky_fill": False}
                features = network.encode(images)
            else:
                network, options = any_view_network(name.removeprefix("da3_")), {}
                features = network.encode(images, reference=torch.zeros(1, dtype=torch.long))
            backbone = counter.get_total_flops()
            out = network.decode(features, chunk=V, **options)
            outputs = (out.depth, out.depth_conf, out.rays, out.ray_conf, out.pose_encoding, out.sky)
            sum(o.sum() for o in outputs if o is not None).backward()
            total = counter.get_total_flops()
    return sum(p.numel() for p in network.parameters()), (total + again * backbone) / V


if __name__ == "__main__":
    sys.exit(run_command(main))

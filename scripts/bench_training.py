"""What training costs: tokens/s, memory, share of the chip's speed, how many views fit, hours of a whole run.

    python scripts/bench_training.py                         # small to giant, 18 views of 504 x 504
    python scripts/bench_training.py --models large --samples 2 --views 10
    python scripts/bench_training.py --most-views            # CUDA: the longest sample that fits
    python scripts/bench_training.py --attention             # CUDA: kernels of attention across views
    python scripts/bench_training.py --recipe                # counted, not measured: whole experiments
    python scripts/bench_training.py --memory                # counted, not measured: GB of an update

An update is one of the training engine on `geometry train experiment=geometry/da3_<model>`, of one
micro-batch of noise that lies on the device; ``--override`` is for that command. TFLOP/s are those of forward
and backward pass as torch's counter sees them (products and convolutions), without what activation
checkpointing repeats; beside them stands what a large matrix product reaches in the same number format.
"""

import argparse
import gc
import json
import sys
import tempfile
from argparse import Namespace
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from geometry.commands.configuration import instantiate
from geometry.commands.experiment import load_config
from geometry.engine import DataStream, FixedBatchSampler, fit
from geometry.engine.activation_checkpoint import checkpoint_activations
from geometry.engine.loop import Run
from geometry.engine.precision import FORMATS
from geometry.errors import InputError, run_command
from geometry.ops.pinhole import intrinsics_matrix
from geometry.tensors import collate
from geometry.training.architecture import any_view_network, monocular_network
from geometry.views import Cameras, Example, Truth, Views

PATCH = 14
SIZES = ("tiny", "small", "base", "large", "giant")
MONOCULAR = {"teacher": "mono-large", "mono": "mono-large", "metric": "metric-large"}
STATE_BYTES = 16  # float32 weight, gradient, and AdamW's two averages
MEMORY_VIEWS = (2, 10, 18)
KERNELS = {
    "as chosen": None,
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "xformers": None,
}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if (args.most_views or args.attention) and not args.device.startswith("cuda"):
        raise InputError(f"--most-views and --attention: expected a CUDA device, got {args.device}")
    columns = "parameters | s | tokens/s | images/s | peak GB | TFLOP/s | of a bare product | of the peak"
    measure, models = speed, args.models
    if args.recipe:
        measure, models = recipe, [*(f"da3_{size}" for size in SIZES), *MONOCULAR]
        columns = (
            "parameters | state | images an update (of 8 GPUs) | an update | the run | hours on one chip"
        )
    elif args.memory:
        measure, columns = memory, f"state | {' | '.join(f'{v} views' for v in MEMORY_VIEWS)}"
    elif args.attention:
        measure, columns = attention, f"TFLOP/s {' | '.join(KERNELS)}"
    elif args.most_views:
        measure, columns = most_views, "views that fit | that do not | GB a view"
    print(f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} CPU threads; ", end="")
    print(f"{args.samples} x {args.views} views of {args.size[0]} x {args.size[1]}\n")
    print(f"| model | {columns} |\n|{'---|' * (columns.count('|') + 2)}", flush=True)
    for model in models:
        # A fresh process: one model's memory, and its running out of it, are not another's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                cells = pool.submit(measure, args, model).result()
            except torch.OutOfMemoryError:
                cells = "out of memory"
        print(f"| {model} | {cells} |", flush=True)
    return 0


def parse(argv: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(SIZES[1:]), choices=SIZES)
    parser.add_argument("--samples", type=int, default=1, help="of a micro-batch (1)")
    parser.add_argument("--views", type=int, default=18, help="of a sample (18)")
    parser.add_argument("--size", type=size_of, default=(504, 504), help="H x W, multiples of 14 (504x504)")
    parser.add_argument("--updates", type=int, default=10, help="timed, after as many that are not (10)")
    parser.add_argument("--peak", type=float, help="rated TFLOP/s of the chip in this format")
    parser.add_argument("--use", type=float, default=0.3, help="share of it that --recipe reckons with (0.3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--override", nargs="*", default=[], help="as given to geometry train")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--most-views", action="store_true", help="the longest sample that fits, to 5 %%")
    what.add_argument("--attention", action="store_true", help="time kernels of attention across views")
    what.add_argument("--memory", action="store_true", help="count the memory of an update by its views")
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


def noise(views: int, size: tuple[int, int]) -> Example:
    """A sample: images and depth of noise, cameras side by side."""
    extrinsics = torch.eye(4).repeat(1, views, 1, 1)
    extrinsics[..., 0, 3] = torch.linspace(0, 1, views)
    principal = torch.tensor([size[1] / 2, size[0] / 2]).expand(1, views, 2)
    intrinsics = intrinsics_matrix(torch.full((1, views, 2), 0.8 * max(size)), principal)
    truth = Truth(
        cameras=Cameras(extrinsics=extrinsics, intrinsics=intrinsics),
        depth=1 + torch.rand(1, views, *size),
        valid=torch.ones(1, views, *size, dtype=torch.bool),
        metric=torch.zeros(1, dtype=torch.bool),
    )
    return Example(views=Views(images=torch.rand(1, views, 3, *size)), truth=truth)


def run_updates(args: Namespace, model: str, *, samples: int, views: int, updates: int) -> tuple[float, dict]:
    """Parameters, and what the engine's log says of the second half of the updates."""
    cfg = load_config([f"experiment=geometry/da3_{model}", "init=null", *args.override])
    torch.manual_seed(0)
    step = instantiate(cfg.step)
    loop = instantiate(cfg.loop) | {
        "steps": 2 * updates,
        "log_every": updates,
        "accumulate": 1,
        "validate_every": None,
        "validate_first": False,
        "tensorboard": False,
        "device": args.device,
    }
    sample = noise(views, args.size).to(args.device)
    data = DataStream([sample], FixedBatchSampler(batch_size=samples), collate=collate)
    with tempfile.TemporaryDirectory() as out, patch.object(Run, "save"):  # gigabytes that nobody reads
        fit(step, data, instantiate(cfg.optimizer), **loop, out=out)
        entry = json.loads((Path(out) / "log.jsonl").read_text().splitlines()[-1])
    return sum(p.numel() for p in step.model.parameters()), entry | {"format": cfg.loop.precision.compute}


def speed(args: Namespace, model: str) -> str:
    parameters, entry = run_updates(args, model, samples=args.samples, views=args.views, updates=args.updates)
    images, tokens = entry["per_second"]["images"], entry["per_second"]["tokens"]
    rate = images * count(f"da3_{model}", again=False, views=args.views, size=args.size)[1]
    side = 8192 if args.device.startswith("cuda") else 2048
    a, b = (torch.randn(side, side, device=args.device).to(FORMATS[entry["format"]]) for _ in range(2))
    product = 2 * side**3 / Timer("a @ b", globals={"a": a, "b": b}).blocked_autorange().median
    return (
        f"{parameters / 1e6:.0f} M | {args.samples * args.views / images:.3g} | {tokens:,.0f} | {images:.3g} "
        f"| {entry['memory_bytes'] / 1e9:.1f} | {rate / 1e12:.3g} | {rate / product:.0%} of "
        f"{product / 1e12:.3g} | {f'{rate / args.peak / 1e12:.0%}' if args.peak else 'not given'}"
    )


def most_views(args: Namespace, model: str) -> str:
    def peak(views: int) -> int:
        return run_updates(args, model, samples=1, views=views, updates=1)[1]["memory_bytes"]

    def fits(views: int) -> bool:
        try:
            return bool(peak(views))
        except torch.OutOfMemoryError:
            pass
        # Only here, where the error no longer holds on to the tensors of the failed update.
        gc.collect()
        torch.cuda.empty_cache()
        return False

    few, more = peak(4), peak(8)
    room = torch.cuda.mem_get_info(args.device)[1] - few
    guess = max(8, 4 + int(4 * room / max(more - few, 1)))
    tried = range(0, 2 * guess, max(1, guess // 20))
    found = bisect_left(tried, True, lo=1, key=lambda views: not fits(views))
    return f"{tried[found - 1]} | {tried[found] if found < len(tried) else '-'} | {(more - few) / 4e9:.2f}"


def attention(args: Namespace, model: str) -> str:
    """TFLOP/s of attention across views, forward and backward, bfloat16, by kernel."""
    with torch.device("meta"):
        vit = any_view_network(model).backbone
    heads, tokens = vit.blocks[0].attn.heads, args.views * (1 + args.size[0] * args.size[1] // PATCH**2)
    operations = 14 * args.samples * heads * tokens**2 * vit.head_dim  # two products forward, five back
    draw = partial(torch.randn, device=args.device, dtype=torch.bfloat16, requires_grad=True)
    cells = []
    for name, kernel in KERNELS.items():
        shape = (args.samples, heads, tokens, vit.head_dim)
        call = F.scaled_dot_product_attention
        try:
            if name == "xformers":
                from xformers.ops import memory_efficient_attention as call

                shape = (args.samples, tokens, heads, vit.head_dim)
            qkv = [draw(shape) for _ in range(3)]
            timer = Timer(
                "grad(call(*qkv).sum(), qkv)", globals={"grad": torch.autograd.grad, "call": call, "qkv": qkv}
            )
            with sdpa_kernel(kernel) if kernel else nullcontext():
                cells.append(f"{operations / timer.blocked_autorange(min_run_time=1).median / 1e12:.0f}")
        except (ImportError, RuntimeError) as error:
            print(f"{model}, {name}: {error}", file=sys.stderr)
            cells.append("not there")
    return " | ".join(cells)


def memory(args: Namespace, model: str) -> str:
    """GB of weights, gradients and AdamW's averages, and of all of an update, of one sample of so many views.

    Forward and backward pass on fake tensors, activation checkpointing as in the experiments, autocast to
    bf16; without the loss, what an allocator wastes and what CUDA itself takes.
    """
    cells = []
    # Fake numbers have no distribution to be truncated.
    with FakeTensorMode(), patch("torch.nn.init.trunc_normal_"):
        network = any_view_network(model)
        checkpoint_activations([*network.backbone.blocks, network.depth_head])
        state = STATE_BYTES * sum(p.numel() for p in network.parameters())
        for views in MEMORY_VIEWS:
            network.zero_grad()
            tracker = MemTracker()
            tracker.track_external(network)
            with tracker:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    images = torch.rand(1, views, 3, *args.size)
                    features = network.encode(images, reference=torch.zeros(1, dtype=torch.long))
                out = network.decode(features, chunk=4)
                outputs = (out.depth, out.depth_conf, out.rays, out.ray_conf, out.pose_encoding)
                sum(o.sum() for o in outputs).backward()
            peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
            kept = sum(peak[kind] for kind in (_MemRefType.PARAM, _MemRefType.GRAD))
            cells.append(f"{(peak['Total'] - kept + state) / 1e9:.1f}")
    return f"{state / 1e9:.1f} | {' | '.join(cells)}"


def recipe(args: Namespace, name: str) -> str:
    """Parameters, state, images an update, operations and hours of an experiment as it is written."""
    cfg = load_config([f"experiment=geometry/{name}"])
    parts = 8 if cfg.data.sampler.get("per_part") else 1
    images = parts * cfg.data.sampler.tokens / (504 // PATCH) ** 2
    parameters, per_image = count(name, again=cfg.loop.activation_checkpointing)
    run = images * per_image * cfg.loop.steps
    return (
        f"{parameters / 1e6:.0f} M | {parameters * STATE_BYTES / 1e9:.1f} GB | {images:.0f} "
        f"| {images * per_image / 1e12:.0f} TFLOP | {run / 1e18:.0f} EFLOP "
        f"| {run / ((args.peak or 989) * 1e12 * args.use) / 3600:.0f}"
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

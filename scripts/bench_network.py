"""Time and memory of the geometry network on this machine: its fast form beside plain PyTorch.

    python scripts/bench_network.py --models small base --views 2 12 --sizes 280x504 336x504

Each case (model, views, size) runs in processes of its own; its candidates take turns round by round, so
ratios of medians hold on a busy machine, where seconds do not. ``--threads 1 --cpu-time`` is steadier there.
``--released PATH`` times the released code of a checkout of Depth Anything 3 in the same turns, ``--busy N``
all of it beside N other processes that multiply matrices.
Prints the machine's plan (`geometry.accelerate`) and Markdown tables:

- the whole forward pass: seconds, images/s, times plain PyTorch, peak memory of a process that builds the
  network and runs it once, and the share of each part;
- the backbone beside its bare matrix products and attention calls, as PyTorch runs them, and the dense head;
- the backbone in bfloat16 under autocast.

Weights are random: they change no time, and the bfloat16 error little.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import busy

from eval.tables.formats import markdown_rows
from geometry.accelerate import Plan, accelerate, plain
from geometry.models.da3 import DepthAnything3, normalise_images
from geometry.models.zoo import VARIANTS, build
from geometry.prediction import Features
from geometry.views import Views

Row = dict[str, float]  # by candidate of `measure`: seconds, "... cpu" CPU seconds of all threads, "... GB"
Column = Callable[[Row], str]
TABLES: dict[str, dict[str, Column]] = {  # a column is left out where a row lacks what it shows
    "Whole forward pass (depth, rays, cameras), float32": {
        "s": lambda m: f"{m['total']:.3g}",
        "images/s": lambda m: f"{m['views'] / m['total']:.2f}",
        "plain PyTorch s": lambda m: f"{m['plain total']:.3g}",
        "/ plain": lambda m: f"{m['total'] / m['plain total']:.2f}",
        "released s": lambda m: f"{m['released']:.3g}",
        "/ released": lambda m: f"{m['total'] / m['released']:.2f}",
        "CPU s": lambda m: f"{m['total cpu']:.3g}",
        "/ released CPU s": lambda m: f"{m['total cpu'] / m['released cpu']:.2f}",
        "peak GB": lambda m: f"{m['total GB']:.2f}",
        "released GB": lambda m: f"{m['released GB']:.2f}",
        "backbone": lambda m: f"{m['backbone'] / m['total']:.0%}",
        "depth": lambda m: f"{m['depth'] / m['total']:.0%}",
        "rays": lambda m: f"{(m['head'] - m['depth']) / m['total']:.0%}",
    },
    "Backbone beside its bare products and attention calls, and dense head, float32": {
        "backbone s": lambda m: f"{m['backbone']:.3g}",
        "/ plain": lambda m: f"{m['backbone'] / m['plain backbone']:.2f}",
        "/ bare": lambda m: f"{m['backbone'] / m['bare']:.2f}",
        "head s": lambda m: f"{m['head']:.3g}",
        "/ plain head": lambda m: f"{m['head'] / m['plain head']:.2f}",
    },
    "Backbone in bfloat16 under autocast": {
        "s": lambda m: f"{m['half']:.3g}",
        "/ plain": lambda m: f"{m['half'] / m['plain half']:.2f}",
        "/ float32": lambda m: f"{m['half'] / m['backbone']:.2f}",
        "error": lambda m: f"{m['error']:.2%}",
    },
}


def bare_calls(network: DepthAnything3, views: int, tokens: int) -> Callable[[], None]:
    """Every matrix product and attention call of the backbone on tensors of its shapes, and nothing else."""
    vit, device = network.backbone, network.backbone.pos_embed.device
    first = vit.blocks[0]
    widths = {layer.in_features for layer in first.modules() if isinstance(layer, nn.Linear)}
    rows = {width: torch.randn(views, tokens, width, device=device) for width in widths}
    heads = first.attn.heads
    qkv = {
        False: torch.randn(3, views, heads, tokens, vit.head_dim, device=device),
        True: torch.randn(3, 1, heads, views * tokens, vit.head_dim, device=device),
    }

    def run() -> None:
        for index, block in enumerate(vit.blocks):
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    F.linear(rows[layer.in_features], layer.weight, layer.bias)
            F.scaled_dot_product_attention(*qkv[vit.crosses_views(index)])

    return run


def released_network(path: str, model: str) -> nn.Module:
    """The released code's network ``model`` from a checkout of it, with random weights."""
    sys.path.insert(0, str(Path(path) / "src"))
    from depth_anything_3.cfg import create_object, load_config  # type: ignore[import-not-found]

    return create_object(load_config(f"depth_anything_3.configs.da3-{model}")).eval()


@torch.inference_mode()
def measure(args: argparse.Namespace, model: str, count: int, size: tuple[int, int]) -> Row:
    """Median seconds of every candidate, and the error of bfloat16."""
    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(0)
    device = torch.device(args.device)
    network = build(model, released=True).to(device).eval()
    vit, head = network.backbone, network.depth_head
    views = Views(images=torch.rand(1, count, 3, *size, device=device))
    normed = normalise_images(views.images)
    features = vit(normed)
    narrow: list[Features] = []
    calls: dict[str, Callable[[], object]] = {  # those named plain in PyTorch's own form
        "total": lambda: network(views),
        "plain total": lambda: network(views),
    }
    if args.released:
        released = released_network(args.released, model).to(device)
        calls["released"] = lambda: released(normalise_images(views.images))
    if not args.whole:
        calls |= {
            "backbone": lambda: vit(normed),
            "plain backbone": lambda: vit(normed),
            "bare": bare_calls(network, count, 1 + (size[0] // vit.patch) * (size[1] // vit.patch)),
            "head": lambda: head(features),
            "depth": lambda: head(features, rays=False),
            "plain head": lambda: head(features),
        }
        if device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
            calls |= {"half": lambda: narrow.append(vit(normed)), "plain half": lambda: vit(normed)}
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(args.rounds + 1):  # the first is not counted
        for name, call in calls.items():
            (plain if name.startswith(("plain", "bare")) else accelerate)(network)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled="half" in name):
                wait()
                start, start_cpu = time.perf_counter(), time.process_time()
                call()
                wait()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in wall.items()}
    medians_cpu = {name: statistics.median(seconds[1:]) for name, seconds in cpu.items()}
    if args.cpu_time:
        medians = {name: seconds / torch.get_num_threads() for name, seconds in medians_cpu.items()}
    row = medians | {f"{name} cpu": seconds for name, seconds in medians_cpu.items()}
    if narrow:
        exact, rounded = (f.patches[-1].double() for f in (features, narrow[-1]))
        row["error"] = float((rounded - exact).norm() / exact.norm())
    if device.type == "cuda":
        row["total GB"] = torch.cuda.max_memory_allocated() / 1e9
    return row | {"views": count}


@torch.inference_mode()
def peak_of_one_call(
    args: argparse.Namespace, model: str, count: int, size: tuple[int, int], name: str
) -> Row:
    """Peak memory (GB, whole process) of building "total", ours, or "released" and running it once."""
    torch.set_num_threads(args.threads or torch.get_num_threads())
    images = torch.rand(1, count, 3, *size)
    if name == "released":
        released_network(args.released, model)(normalise_images(images))
    else:
        accelerate(build(model).eval())(Views(images=images))
    return {f"{name} GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def in_new_process(function: Callable[..., Row], *arguments: Any) -> Row:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    any_view = [name for name, v in VARIANTS.items() if v.kind == "any-view"]
    parser.add_argument("--models", nargs="+", default=["small", "base"], choices=any_view)
    parser.add_argument("--views", nargs="+", type=int, default=[2, 12])
    parser.add_argument("--sizes", nargs="+", default=["280x504", "336x504"], help="H x W, multiples of 14")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=4, help="after a first that is not counted (4)")
    parser.add_argument("--threads", type=int, help="of PyTorch (its default)")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time per thread, for a busy machine")
    parser.add_argument("--released", metavar="PATH", help="checkout of the released code to time in turns")
    parser.add_argument("--whole", action="store_true", help="whole forward passes alone, no parts")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other processes to run beside it")
    parser.add_argument("--quick", action="store_true", help="one small row, to see that everything runs")
    args = parser.parse_args()
    if args.cpu_time:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # for the processes below: waiting threads cost no CPU time
    if args.quick:
        args.models, args.views, args.sizes, args.rounds = ["tiny"], [3], ["84x112"], 2
    torch.set_num_threads(args.threads or torch.get_num_threads())
    on_gpu = args.device.startswith("cuda")
    machine = torch.cuda.get_device_name() if on_gpu else torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.device}, {machine}")
    for dtype in () if on_gpu else (torch.float32, torch.bfloat16):
        print(f"{dtype}: {Plan.for_machine(dtype)}", flush=True)
    busy.start(args.busy)
    rows = {}
    for model, size, count in product(args.models, args.sizes, args.views):
        case = args, model, count, tuple(int(side) for side in size.split("x"))
        row = in_new_process(measure, *case)
        for name in () if on_gpu else ["total"] + ["released"] * bool(args.released):
            row |= in_new_process(peak_of_one_call, *case, name)
        rows[model, str(count), size.replace("x", " x ")] = row
    for title, columns in TABLES.items():
        table = {name: shown for name, column in columns.items() if (shown := cells(column, rows.values()))}
        if table:
            lines = [[*case, *values] for case, values in zip(rows, zip(*table.values()))]
            print(f"\n{title}\n", *markdown_rows(["model", "views", "H x W", *table], lines), sep="\n")


def cells(column: Column, rows: Iterable[Row]) -> list[str]:
    """What ``column`` shows of each row; nothing where one of them lacks it."""
    try:
        return [column(row) for row in rows]
    except KeyError:
        return []


if __name__ == "__main__":
    main()

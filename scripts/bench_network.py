"""Time and memory of the geometry network on this machine: its fast form beside plain PyTorch.

    python scripts/bench_network.py --models small base --views 2 12 --sizes 280x504 336x504

Each case (model, views, size) runs in processes of its own; its candidates take turns round by round, so
ratios of medians hold on a busy machine, where seconds do not. ``--threads 1 --cpu-time`` is steadier there.
Prints the machine's plan (`geometry.accelerate`) and Markdown tables:

- the whole forward pass: seconds, images/s, times plain PyTorch, peak memory of a process that builds the
  network and runs it once, and the share of each part;
- the backbone beside its bare matrix products and attention calls, as PyTorch runs them, and the dense head;
- the backbone in bfloat16 under autocast.

Weights are random: they change no time, and the bfloat16 error little.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geometry.accelerate import Plan, accelerate, plain
from geometry.models.da3 import DepthAnything3, normalise_images
from geometry.models.zoo import VARIANTS, build
from geometry.prediction import Features
from geometry.views import Views


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


@torch.inference_mode()
def measure(case: argparse.Namespace) -> dict:
    """Median seconds of every candidate, and the error of bfloat16."""
    torch.manual_seed(0)
    device = torch.device(case.device)
    network = build(case.model, released=True).to(device).eval()
    vit, head = network.backbone, network.depth_head
    views = Views(images=torch.rand(1, case.views, 3, *case.size, device=device))
    normed = normalise_images(views.images)
    tokens = 1 + (case.size[0] // vit.patch) * (case.size[1] // vit.patch)
    features = vit(normed)
    bare = bare_calls(network, case.views, tokens)

    calls: dict[str, tuple[bool, Callable[[], object]]] = {  # in the fast form, the call
        "total": (True, lambda: network(views)),
        "plain total": (False, lambda: network(views)),
        "backbone": (True, lambda: vit(normed)),
        "plain backbone": (False, lambda: vit(normed)),
        "bare": (False, bare),
        "head": (True, lambda: head(features)),
        "depth": (True, lambda: head(features, rays=False)),
        "plain head": (False, lambda: head(features)),
    }
    narrow: list[Features] = []
    if device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        calls["half"] = True, lambda: narrow.append(vit(normed))
        calls["plain half"] = False, lambda: vit(normed)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(case.rounds + 1):  # the first is not counted
        for name, (fast, call) in calls.items():
            (accelerate if fast else plain)(network)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled="half" in name):
                seconds = timed(call, device, case.cpu_time)
            samples[name] += [seconds] if turn else []
    row = {name: statistics.median(seconds) for name, seconds in samples.items()}
    if narrow:
        exact, came = (f.patches[-1].double() for f in (features, narrow[-1]))
        row["error"] = float((came - exact).norm() / exact.norm())
    if device.type == "cuda":
        row["peak"] = torch.cuda.max_memory_allocated() / 1e9
    return row


def timed(call: Callable[[], object], device: torch.device, cpu_time: bool) -> float:
    """Seconds of a call: wall clock, or CPU time by the number of threads."""
    now = time.process_time if cpu_time else time.perf_counter
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = now()
    call()
    wait()
    return (now() - start) / (torch.get_num_threads() if cpu_time else 1)


@torch.inference_mode()
def peak_of_one_call(case: argparse.Namespace) -> dict:
    """Peak memory (GB, whole process) of building a network and running it once."""
    accelerate(build(case.model).eval())(Views(images=torch.rand(1, case.views, 3, *case.size)))
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def run_case(args: argparse.Namespace, model: str, views: int, size: str, task: str) -> dict:
    """One task of this script in a fresh process."""
    command = [sys.executable, __file__, "--task", task, "--models", model, "--views", str(views)]
    command += ["--sizes", size, "--device", args.device, "--rounds", str(args.rounds)]
    command += ["--threads", str(args.threads)] if args.threads else []
    command += ["--cpu-time"] if args.cpu_time else []
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def print_tables(cases: dict[str, dict]) -> None:
    """All tables; ``cases`` maps "model | views | size" to what `measure` and `peak_of_one_call` gave."""

    def table(title: str, columns: dict[str, Callable[[dict], str]]) -> None:
        print(f"\n{title}\n\n| model | views | H x W | {' | '.join(columns)} |")
        print("|" + " --- |" * (3 + len(columns)))
        for name, m in cases.items():
            print(f"| {name} | {' | '.join(cell(m) for cell in columns.values())} |", flush=True)

    def seconds(name: str) -> Callable[[dict], str]:
        return lambda m: f"{m[name]:.3g}" if name in m else ""

    def ratio(a: str, b: str) -> Callable[[dict], str]:
        return lambda m: f"{m[a] / m[b]:.2f}" if a in m else ""

    def share(part: Callable[[dict], float]) -> Callable[[dict], str]:
        return lambda m: f"{100 * part(m) / m['total']:.0f} %"

    table(
        "Whole forward pass (depth, rays, cameras), float32",
        {
            "s": seconds("total"),
            "images/s": lambda m: f"{m['views'] / m['total']:.2f}",
            "plain PyTorch s": seconds("plain total"),
            "/ plain": ratio("total", "plain total"),
            "peak GB": lambda m: f"{m['peak']:.2f}",
            "backbone": share(lambda m: m["backbone"]),
            "depth": share(lambda m: m["depth"]),
            "rays": share(lambda m: m["head"] - m["depth"]),
        },
    )
    table(
        "Backbone beside its bare products and attention calls, and dense head, float32",
        {
            "backbone s": seconds("backbone"),
            "/ plain": ratio("backbone", "plain backbone"),
            "/ bare": ratio("backbone", "bare"),
            "head s": seconds("head"),
            "/ plain head": ratio("head", "plain head"),
        },
    )
    table(
        "Backbone in bfloat16 under autocast",
        {
            "s": seconds("half"),
            "/ plain": ratio("half", "plain half"),
            "/ float32": ratio("half", "backbone"),
            "error": lambda m: f"{100 * m['error']:.2f} %" if "error" in m else "",
        },
    )


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
    parser.add_argument("--quick", action="store_true", help="one small row, to see that everything runs")
    parser.add_argument("--task", choices=["measure", "peak"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.task:
        args.model, args.views = args.models[0], args.views[0]
        args.size = tuple(int(side) for side in args.sizes[0].split("x"))
        print(json.dumps(measure(args) if args.task == "measure" else peak_of_one_call(args)))
        return
    if args.cpu_time:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # for the processes below: waiting threads cost no CPU time
    if args.quick:
        args.models, args.views, args.sizes, args.rounds = ["tiny"], [3], ["84x112"], 2
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.device}, {processor()}")
    for dtype in (torch.float32, torch.bfloat16) if args.device == "cpu" else ():
        print(f"{dtype}: {Plan.for_machine(dtype)}", flush=True)
    cases = {}
    for model in args.models:
        for size in args.sizes:
            for views in args.views:
                row = {"views": views, **run_case(args, model, views, size, "measure")}
                row |= run_case(args, model, views, size, "peak") if args.device == "cpu" else {}
                cases[f"{model} | {views} | {size.replace('x', ' x ')}"] = row
    print_tables(cases)


def processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo") as info:
        found = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in info}
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in found["flags"].split()]
    return f"{found['model name']} family {found['cpu family']} ({', '.join(flags)})"


if __name__ == "__main__":
    main()

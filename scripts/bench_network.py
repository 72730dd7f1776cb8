"""Time and memory of the geometry network, beside the bare products and attention calls that it is made of.

    python scripts/bench_network.py --models small base --views 2 12 --sizes 280x504 336x504

Each case (model, views, size) is measured in processes of its own; its candidates take turns round by round,
so ratios of the medians hold on a busy machine, where seconds do not. ``--threads 1 --cpu-time`` is steadier
there. Prints Markdown tables:

- the whole forward pass: seconds, images/s, peak memory of a process that builds the network and runs it
  once, and the share of each part;
- the backbone against the sum of its matrix products and attention calls on the same shapes, in the
  same precision: as PyTorch runs them (F.linear, scaled_dot_product_attention: "plain"), and as
  `geometry.layers` does ("fast"; the same thing on CUDA);
- the dense head against the same layers executed as in the released code;
- the backbone in bfloat16 under autocast: how much faster it and those sums are than in float32, and the
  relative error (l2) of the deepest features.

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
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geometry.accelerate.attention import attention
from geometry.accelerate.linear import ROWS_IN_CACHE, prepare
from geometry.layers.mlp import SwiGlu
from geometry.layers.uv_embed import add_uv_embedding
from geometry.models.da3 import DepthAnything3, normalise_images
from geometry.models.dpt import Fusion, resize
from geometry.models.dual_dpt import DualDpt
from geometry.models.zoo import VARIANTS, build
from geometry.prediction import Features
from geometry.views import Cameras, Views

WARM_FROM = 3  # of so many rounds the first is not counted; of fewer, each counts


class Clock:
    """Seconds of calls: CUDA events, the wall clock, or the process's CPU time per thread."""

    def __init__(self, device: torch.device, *, cpu_time: bool) -> None:
        self.cuda = device.type == "cuda"
        self.cpu_time = cpu_time

    def __call__(self, call: Callable[[], object]) -> float:
        stop = self.start()
        call()
        return stop()

    def start(self) -> Callable[[], float]:
        if not self.cuda:
            now = time.process_time if self.cpu_time else time.perf_counter
            begin, threads = now(), torch.get_num_threads() if self.cpu_time else 1
            return lambda: (now() - begin) / threads
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()

        def stop() -> float:
            last.record()
            last.synchronize()
            return first.elapsed_time(last) / 1000

        return stop


def bare_calls(
    network: DepthAnything3, views: int, tokens: int, *, fast: bool, dtype: torch.dtype
) -> Callable[[], None]:
    """Every matrix product and attention call of the backbone on tensors of its shapes, and nothing else.

    Inputs are made and weights laid out beforehand. Products take as many rows at a time as the backbone's
    do: larger results would be fresh pages from the kernel each time, and slower.
    """
    vit = network.backbone
    like = {"device": vit.pos_embed.device, "dtype": dtype}
    widths = {layer.in_features for layer in _products(vit.blocks[0])}
    at_once = ROWS_IN_CACHE if like["device"].type == "cpu" else views * tokens
    rows = {w: torch.randn(views * tokens, w, **like).split(at_once) for w in widths}
    heads = vit.blocks[0].attn.heads
    shapes = {False: (views, heads, tokens), True: (1, heads, views * tokens)}
    qkv = {across: torch.randn(3, *shape, vit.head_dim, **like) for across, shape in shapes.items()}
    mix = attention if fast else F.scaled_dot_product_attention

    def plain(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
        weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
        return lambda x: F.linear(x, weight, bias)

    def quick(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
        with torch.autocast(like["device"].type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return prepare(layer)

    # On CUDA prepared layers are the layers themselves, and their weights float32: nothing faster than plain.
    make = quick if fast and like["device"].type == "cpu" else plain
    products = [[(rows[x.in_features], make(x)) for x in _products(block)] for block in vit.blocks]

    def run() -> None:
        for index, layers in enumerate(products):
            for pieces, product in layers:
                for piece in pieces:
                    product(piece)
            mix(*qkv[vit.crosses_views(index)])

    return run


def _products(block: nn.Module) -> list[nn.Linear]:
    pair = (block.mlp.w12, block.mlp.w3) if isinstance(block.mlp, SwiGlu) else (block.mlp.fc1, block.mlp.fc2)
    return [block.attn.qkv, block.attn.proj, *pair]


def released_head(head: DualDpt, features: Features) -> list[Tensor]:
    """Our head's layers executed as the released code does: 8 views at a time, nothing in place, the 1 x 1
    convolutions of the fusion after the resize, and three coarser ray levels computed and thrown away."""
    (H, W), grid = features.image_size, features.grid

    def unit(u: nn.Module, x: Tensor) -> Tensor:
        return x + u.conv2(F.relu(u.conv1(F.relu(x))))

    def embed(x: Tensor) -> Tensor:
        return x + add_uv_embedding(torch.zeros_like(x[:1]), W / H)

    def fuse(fusion: Fusion, maps: list[Tensor]) -> list[Tensor]:
        top, levels = maps[3], []
        for level in (3, 2, 1, 0):
            block = fusion.blocks[level]
            if level < 3:
                top = top + unit(block.lateral_unit, maps[level])
            finer = maps[level - 1].shape[-2:] if level else [2 * s for s in maps[0].shape[-2:]]
            top = block.out(resize(unit(block.unit, top), finer))
            levels.append(top)
        return levels

    outputs = []
    r = head.reassemble
    flat = [p.flatten(0, 1) for p in features.patches]
    for start in range(0, len(flat[0]), 8):
        maps = []
        for x, project, scale, lateral in zip(flat, r.project, r.resize, r.lateral):
            x = r.norm(x[start : start + 8]).permute(0, 2, 1)
            maps.append(lateral(scale(embed(project(x.reshape(*x.shape[:2], *grid))))))
        depth = resize(head.depth_neck(fuse(head.depth_fusion, maps)[-1]), (H, W))
        depth = head.depth_out(embed(depth)).permute(0, 2, 3, 1)
        *coarse, rays = fuse(head.ray_fusion, maps)
        for spare, x in zip(head.spares, coarse):
            spare["neck"](x)
        rays = F.relu(head.ray_norm(head.ray_conv(embed(head.ray_neck(rays))).permute(0, 2, 3, 1)))
        rays = head.ray_out(rays.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        outputs.append((depth[..., 0].exp(), depth[..., 1].exp() + 1, rays[..., :6], rays[..., 6].exp() + 1))
    return [torch.cat(column) for column in zip(*outputs)]


@contextmanager
def timed_parts(network: DepthAnything3, clock: Clock, seconds: dict[str, float]):
    """Add the time of the backbone's parts to ``seconds`` while calls run."""
    vit = network.backbone
    parts = {vit.patch_embed: "patch"}
    parts |= {b: "across" if vit.crosses_views(i) else "within" for i, b in enumerate(vit.blocks)}
    stops: list[Callable[[], float]] = []

    def before(*_: object) -> None:
        stops.append(clock.start())

    def after(module: nn.Module, *_: object) -> None:
        seconds[parts[module]] = seconds.get(parts[module], 0.0) + stops.pop()()

    hooks = [h for m in parts for h in (m.register_forward_pre_hook(before), m.register_forward_hook(after))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def measure(
    model: str, views: int, size: tuple[int, int], device: torch.device, rounds: int, cpu_time: bool
) -> dict:
    """Median seconds of every candidate, and the error of bfloat16."""
    torch.manual_seed(0)
    network = build(model, released=True).to(device).eval()
    vit, head = network.backbone, network.depth_head
    images = torch.rand(1, views, 3, *size, device=device)
    normed = normalise_images(images)
    clock = Clock(device, cpu_time=cpu_time)
    tokens = 1 + (size[0] // vit.patch) * (size[1] // vit.patch)
    features = vit(normed)
    eye = torch.eye(4, device=device).expand(1, views, 4, 4)
    intrinsics = torch.tensor([[500.0, 0, size[1] / 2], [0, 500.0, size[0] / 2], [0, 0, 1]], device=device)
    cameras = Cameras(extrinsics=eye, intrinsics=intrinsics.expand(1, views, 3, 3))
    for ours, theirs in zip(head(features), released_head(head, features)):
        torch.testing.assert_close(ours[0], theirs, atol=1e-3, rtol=1e-3)

    rough: list[Features] = []

    def half() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            rough[:] = [vit(normed)]

    def bare(fast: bool, dtype: torch.dtype) -> Callable[[], None]:
        return bare_calls(network, views, tokens, fast=fast, dtype=dtype)

    parts: list[dict[str, float]] = []

    def in_parts() -> None:
        parts.append({})
        with timed_parts(network, clock, parts[-1]):
            vit(normed)

    calls = {
        "total": lambda: network(Views(images=images)),
        "backbone": in_parts,
        "plain": bare(False, torch.float32),
        "fast": bare(True, torch.float32),
        "head": lambda: head(features),
        "depth head": lambda: head(features, rays=False),
        "released head": lambda: released_head(head, features),
        "camera decoder": lambda: network.camera_decoder(features.camera_tokens[-1]),
        "camera encoder": lambda: network.camera_encoder(cameras, size),
    }
    if supports_bf16(device):
        calls |= {
            "half": half,
            "half plain": bare(False, torch.bfloat16),
            "half fast": bare(True, torch.bfloat16),
        }
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(clock(call))
    if rounds >= WARM_FROM:
        samples, parts = {name: seconds[1:] for name, seconds in samples.items()}, parts[1:]
    row = {name: statistics.median(seconds) for name, seconds in samples.items()}
    row |= {name: statistics.median(seconds[name] for seconds in parts) for name in parts[0]}
    if "half" in calls:
        exact, came = (f.patches[-1].double() for f in (features, *rough))
        row["error"] = float((came - exact).norm() / exact.norm())
    if device.type == "cuda":
        row["peak"] = torch.cuda.max_memory_allocated() / 1e9
    return row


def supports_bf16(device: torch.device) -> bool:
    """Whether bf16 products are a gain to be expected: any CUDA device here, CPUs with bf16 instructions."""
    return device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@torch.inference_mode()
def peak_of_one_call(model: str, views: int, size: tuple[int, int]) -> dict:
    """Peak memory (GB, whole process) of building a network and running it once."""
    network = build(model).eval()
    network(Views(images=torch.rand(1, views, 3, *size)))
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def in_process(threads: int | None, task: str, *arguments: object) -> dict:
    """Run one task of this script in a fresh process."""
    command = [sys.executable, __file__, *(["--threads", str(threads)] if threads else [])]
    command += ["--task", task, *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def print_tables(cases: dict[str, dict]) -> None:
    """All tables; ``cases`` maps "model | views | size" to what `measure` and `peak_of_one_call` gave."""

    def table(title: str, columns: str, cells: Callable[[dict], list[str]], wanted: str = "total") -> None:
        print(f"\n{title}\n\n| model | views | H x W | {columns} |")
        print("|" + " --- |" * (4 + columns.count("|")))
        for name, m in cases.items():
            if wanted in m:
                print(f"| {name} | " + " | ".join(cells(m)) + " |", flush=True)

    def seconds(*values: float) -> list[str]:
        return [f"{v:.3g}" for v in values]

    def ratios(*values: float) -> list[str]:
        return [f"{v:.2f}" for v in values]

    def shares(m: dict) -> list[str]:
        glue = m["backbone"] - sum(m.get(part, 0.0) for part in ("patch", "within", "across"))
        parts = [
            m["patch"],
            m["within"],
            m.get("across", 0.0),
            glue,
            m["depth head"],
            m["head"] - m["depth head"],
        ]
        return [
            f"{100 * part / m['total']:.1f} %" for part in (*parts, m["camera decoder"], m["camera encoder"])
        ]

    table(
        "Whole forward pass (depth, rays, cameras), float32",
        "s | images/s | peak GB",
        lambda m: [*seconds(m["total"]), *ratios(m["views"] / m["total"], m["peak"])],
    )
    table(
        "Share of the parts (the camera encoder runs only with given cameras, and is not in the whole)",
        "patches | blocks within views | blocks across views | rest of backbone | depth | rays | "
        "camera decoder | camera encoder",
        shares,
    )
    table(
        "Backbone, float32: seconds, and times the sum of bare products and attention calls",
        "backbone s | plain s | fast s | / plain | / fast",
        lambda m: [
            *seconds(m["backbone"], m["plain"], m["fast"]),
            *ratios(m["backbone"] / m["plain"], m["backbone"] / m["fast"]),
        ],
    )
    table(
        "Dense head, float32",
        "ours s | as released s | ratio",
        lambda m: [*seconds(m["head"], m["released head"]), *ratios(m["head"] / m["released head"])],
    )
    table(
        "Backbone in bfloat16 under autocast",
        "s | / plain | / fast | gain over float32 | gain of plain | gain of fast | error",
        lambda m: [
            *seconds(m["half"]),
            *ratios(m["half"] / m["half plain"], m["half"] / m["half fast"], m["backbone"] / m["half"]),
            *ratios(m["plain"] / m["half plain"], m["fast"] / m["half fast"]),
            f"{100 * m['error']:.2f} %",
        ],
        wanted="half",
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
    parser.add_argument("--rounds", type=int, default=5, help="of 3 or more the first is not counted (5)")
    parser.add_argument("--threads", type=int, help="of PyTorch (its default)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time per thread, not the wall clock: on a busy machine"
    )
    parser.add_argument("--quick", action="store_true", help="one small row, to see that everything runs")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.cpu_time:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # for the processes below: waiting threads cost no CPU time
    if arguments.task:
        task, model, views, size, *more = arguments.task
        size = tuple(int(s) for s in size.split("x"))
        if task == "peak":
            print(json.dumps(peak_of_one_call(model, int(views), size)))
        else:
            device, rounds, cpu_time = torch.device(more[0]), int(more[1]), more[2] == "True"
            print(json.dumps(measure(model, int(views), size, device, rounds, cpu_time)))
        return
    if arguments.quick:
        arguments.models, arguments.views, arguments.sizes, arguments.rounds = ["tiny"], [3], ["84x112"], 3
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}, {processor()}")
    cases = {}
    for model in arguments.models:
        for size in arguments.sizes:
            for views in arguments.views:
                name = f"{model} | {views} | {size.replace('x', ' x ')}"
                print(f"measuring {name}", file=sys.stderr, flush=True)
                cases[name] = in_process(
                    *(arguments.threads, "measure", model, views, size),
                    *(arguments.device, arguments.rounds, arguments.cpu_time),
                )
                cases[name]["views"] = views
                if arguments.device == "cpu":
                    cases[name] |= in_process(arguments.threads, "peak", model, views, size)
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

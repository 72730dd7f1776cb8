"""Time and memory of the geometry network, beside the bare products and attention calls that it is made of.

    python scripts/bench_network.py --models small base --views 2 12 --sizes 280x504 336x504

Prints one Markdown table. Each row is measured in processes of its own. Within a row every candidate takes
its turn in each round, so ratios hold on a busy machine; the seconds do not. On a CPU, times are of the
process (waiting threads sleep and cost nothing) divided by the threads, with the wall clock beside the
total; on CUDA they are of events.

Columns. bare: the backbone's matrix products (F.linear) and attention calls (scaled_dot_product_attention) on
its shapes. fast bare: the same with the products of `geometry.layers.linear`. released head: the same layers
executed as in the released code. bf16: the backbone under autocast, how much faster than float32, how much
faster the bare calls are, and the relative error (l2) of the deepest features. Weights are random.
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

from geometry.layers.linear import prepare
from geometry.layers.mlp import SwiGlu
from geometry.layers.uv_embed import add_uv_embedding
from geometry.models.da3 import DepthAnything3, normalise_images
from geometry.models.dpt import Fusion, resize
from geometry.models.dual_dpt import DualDpt
from geometry.models.zoo import VARIANTS, build
from geometry.prediction import Features
from geometry.views import Cameras, Views

COLUMNS = (
    "model", "views", "H x W", "s (wall)", "images/s", "peak GB", "backbone s", "/ bare", "/ fast bare",
    "heads s", "/ released head", "patch", "within", "across", "not products", "depth", "rays", "cameras",
    "bf16 gain", "bare bf16 gain", "bf16 error",
)  # fmt: skip


class Clock:
    """Seconds of calls: CUDA events, or process time per thread."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, call: Callable[[], object]) -> tuple[float, float]:
        """(device or CPU, wall) seconds of one call."""
        wall = time.perf_counter()
        stop = self.start()
        call()
        seconds = stop()
        return seconds, time.perf_counter() - wall

    def start(self) -> Callable[[], float]:
        if self.cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()

            def stop() -> float:
                end.record()
                end.synchronize()
                return begin.elapsed_time(end) / 1000

            return stop
        begin = time.process_time()
        return lambda: (time.process_time() - begin) / torch.get_num_threads()


def bare_calls(network: DepthAnything3, views: int, tokens: int, *, fast: bool, dtype: torch.dtype) -> None:
    """Every matrix product and attention call of the backbone, on tensors of its shapes, and nothing else."""
    vit = network.backbone
    device = vit.pos_embed.device
    rows = {w: torch.zeros(views * tokens, w, device=device, dtype=dtype) for w in _input_widths(network)}
    heads = vit.blocks[0].attn.heads
    for index, block in enumerate(vit.blocks):
        for layer in _products(block):
            if fast:
                prepare(layer)(rows[layer.in_features])
            else:
                F.linear(rows[layer.in_features], layer.weight.to(dtype), layer.bias.to(dtype))
        n, length = (1, views * tokens) if vit.crosses_views(index) else (views, tokens)
        qkv = torch.zeros(3, n, heads, length, vit.head_dim, device=device, dtype=dtype)
        F.scaled_dot_product_attention(*qkv)


def _products(block: nn.Module) -> list[nn.Linear]:
    pair = (block.mlp.w12, block.mlp.w3) if isinstance(block.mlp, SwiGlu) else (block.mlp.fc1, block.mlp.fc2)
    return [block.attn.qkv, block.attn.proj, *pair]


def _input_widths(network: DepthAnything3) -> set[int]:
    return {layer.in_features for layer in _products(network.backbone.blocks[0])}


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
def measure(model: str, views: int, size: tuple[int, int], device: torch.device, rounds: int) -> dict:
    """One row, as numbers."""
    torch.manual_seed(0)
    network = build(model, released=True).to(device).eval()
    vit, head = network.backbone, network.depth_head
    images = torch.rand(1, views, 3, *size, device=device)
    normed = normalise_images(images)
    clock = Clock(device)
    tokens = 1 + (size[0] // vit.patch) * (size[1] // vit.patch)
    features = vit(normed)
    eye = torch.eye(4, device=device).expand(1, views, 4, 4)
    intrinsics = torch.tensor([[500.0, 0, size[1] / 2], [0, 500.0, size[0] / 2], [0, 0, 1]], device=device)
    cameras = Cameras(extrinsics=eye, intrinsics=intrinsics.expand(1, views, 3, 3))
    ours, theirs = head(features), released_head(head, features)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a[0], b, atol=1e-3, rtol=1e-3)

    def lowp() -> Features:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return vit(normed)

    def bare(fast: bool, dtype: torch.dtype) -> Callable[[], None]:
        return lambda: bare_calls(network, views, tokens, fast=fast, dtype=dtype)

    parts: dict[str, float] = {}

    def in_parts() -> None:
        with timed_parts(network, clock, parts):
            vit(normed)

    calls = {
        "total": lambda: network(Views(images=images)),
        "backbone": in_parts,
        "bare": bare(False, torch.float32),
        "fast bare": bare(True, torch.float32),
        "heads": lambda: head(features),
        "depth head": lambda: head(features, rays=False),
        "released head": lambda: released_head(head, features),
        "camera decoder": lambda: network.camera_decoder(features.camera_tokens[-1]),
        "camera encoder": lambda: network.camera_encoder(cameras, size),
    }
    if supports_bf16(device):
        calls |= {"bf16": lowp, "bare bf16": bare(False, torch.bfloat16)}
    for call in calls.values():
        call()
    parts.clear()
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(clock(call))
    row = {name: statistics.median(s for s, _ in pairs) for name, pairs in samples.items()}
    row["wall"] = statistics.median(w for _, w in samples["total"])
    row |= {f"part {name}": value / rounds for name, value in parts.items()}
    if "bf16" in calls:
        exact, rough = features.patches[-1].double(), lowp().patches[-1].double()
        row["error"] = float((rough - exact).norm() / exact.norm())
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


def in_process(task: str, *arguments: object) -> dict:
    """Run one task of this script in a fresh process."""
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    result = subprocess.run(
        command,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def table_row(model: str, views: int, size: str, m: dict) -> list[str]:
    def share(seconds: float) -> str:
        return f"{100 * seconds / m['total']:.1f}%"

    rays = m["heads"] - m["depth head"]
    bf16 = ["-"] * 3
    if "bf16" in m:
        gains = (m["backbone"] / m["bf16"], m["bare"] / m["bare bf16"])
        bf16 = [*(f"{g:.2f}" for g in gains), f"{100 * m['error']:.2f}%"]
    return [
        model, str(views), size.replace("x", " x "), f"{m['total']:.2f} ({m['wall']:.2f})",
        f"{views / m['wall']:.2f}", f"{m['peak']:.2f}",
        f"{m['backbone']:.2f}", f"{m['backbone'] / m['bare']:.2f}", f"{m['backbone'] / m['fast bare']:.2f}",
        f"{m['heads']:.2f}", f"{m['heads'] / m['released head']:.2f}",
        share(m["part patch"]), share(m["part within"]), share(m.get("part across", 0.0)),
        share(m["backbone"] - m["fast bare"]), share(m["depth head"]), share(rays),
        f"{share(m['camera decoder'])} + {share(m['camera encoder'])}", *bf16,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    any_view = [name for name, v in VARIANTS.items() if v.kind == "any-view"]
    parser.add_argument("--models", nargs="+", default=["small", "base"], choices=any_view)
    parser.add_argument("--views", nargs="+", type=int, default=[2, 12])
    parser.add_argument("--sizes", nargs="+", default=["280x504", "336x504"], help="H x W, multiples of 14")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small row, to see that everything runs")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        task, model, views, size, *more = arguments.task
        size = tuple(int(s) for s in size.split("x"))
        if task == "peak":
            print(json.dumps(peak_of_one_call(model, int(views), size)))
        else:
            print(json.dumps(measure(model, int(views), size, torch.device(more[0]), int(more[1]))))
        return
    if arguments.quick:
        arguments.models, arguments.views, arguments.sizes, arguments.rounds = ["tiny"], [3], ["84x112"], 3
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}, {processor()}\n"
    )
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    for model in arguments.models:
        for size in arguments.sizes:
            for views in arguments.views:
                row = in_process("measure", model, views, size, arguments.device, arguments.rounds)
                if arguments.device == "cpu":
                    row |= in_process("peak", model, views, size)
                print("| " + " | ".join(table_row(model, views, size, row)) + " |", flush=True)


def processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo") as info:
        found = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in info}
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in found["flags"].split()]
    return f"{found['model name']} family {found['cpu family']} ({', '.join(flags)})"


if __name__ == "__main__":
    main()

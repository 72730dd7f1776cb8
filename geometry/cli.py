"""What the commands share: arguments about photos, models and devices, and what they print."""

import argparse
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from geometry.errors import InputError
from geometry.models.checkpoints import Checkpoint
from geometry.models.reference_view import STRATEGIES
from geometry.models.vit import VisionTransformer


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    """Photos, their cameras, and how many of them the network takes."""
    group = parser.add_argument_group("photos")
    group.add_argument("photos", nargs="+", help="a folder of photos, photo files, or one video")
    group.add_argument(
        "--poses",
        metavar="FILE",
        help="camera poses: a transforms.json or a COLMAP model folder (default: found beside the photos)",
    )
    group.add_argument("--unposed", action="store_true", help="ignore all poses; the network finds its own")
    group.add_argument(
        "--no-pose-check", action="store_true", help="use poses even if they contradict themselves"
    )
    group.add_argument(
        "--max-views",
        type=positive,
        default=None,
        metavar="N",
        help="photos the network takes at most (default: 16 on CPU, 64 on CUDA); more photos are sampled, "
        "farthest-point with poses, evenly without; time grows faster than the number",
    )
    group.add_argument(
        "--process-res",
        type=positive,
        default=504,
        metavar="PX",
        help="longest side of the images that the network sees (default 504)",
    )
    group.add_argument(
        "--released-crop",
        action="store_true",
        help="treat photos of mixed sizes as the released code does: centre-crop all to the smallest",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which network, and how it runs."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="tiny",
        help="a size (tiny, small, base, large, giant, mono-large, metric-large, nested-giant-large), a hub "
        "id, a folder, or a .safetensors file (default: tiny)",
    )
    group.add_argument(
        "--ref-view",
        default="saddle_balanced",
        choices=STRATEGIES,
        help="how the reference view of unposed photos is chosen (default saddle_balanced)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default auto)")
    group.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="of the backbone; heads are always float32 (default: bfloat16 on CUDA, float32 on CPU)",
    )
    group.add_argument(
        "--chunk", type=positive, default=None, metavar="N", help="views that the dense heads take at a time"
    )


def positive(text: str) -> int:
    """argparse type: a whole number above zero."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def pick_device(name: str) -> torch.device:
    """The device that ``--device`` names.

    Raises:
        InputError: no such device here, or one of a kind that nothing here is made for.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(
            f"--device: expected cpu, cuda or cuda:N, got {name}; Apple's mps is not supported (no float64)"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: not usable here ({reason})") from error
    return device


@contextmanager
def precision(name: str, network: nn.Module) -> Iterator[None]:
    """Inference with the backbones of ``network`` in the wanted precision, and all else in float32.

    Args:
        name: float32, bfloat16, or auto: bfloat16 where the network is on a GPU, as the released code.
    """
    backbones = [module for module in network.modules() if isinstance(module, VisionTransformer)]
    on_gpu = any(backbone.pos_embed.device.type == "cuda" for backbone in backbones)
    half = name == "bfloat16" or (name == "auto" and on_gpu)
    before = [backbone.compute for backbone in backbones]
    try:
        for backbone in backbones:
            backbone.compute = torch.bfloat16 if half else None
        with torch.inference_mode():
            yield
    finally:
        for backbone, compute in zip(backbones, before):
            backbone.compute = compute


def announce(checkpoint: Checkpoint) -> None:
    """Say what was loaded; say loudly if it was never trained."""
    say(checkpoint.summary)
    if not checkpoint.trained:
        say(
            "WARNING: these weights are random. Everything runs, but what the network predicts means "
            "nothing. Use --model small (Apache-2.0) or another released size."
        )


def say(text: str) -> None:
    """One line of progress for the person, on standard error, so that results can be piped."""
    print(text, file=sys.stderr, flush=True)


class Stopwatch:
    """Named wall-clock stages of a command, and its peak memory."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def summary(self) -> str:
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        return (
            f"time: {parts}; total {sum(self.seconds.values()):.1f} s; peak memory {peak_memory_gb():.2f} GB"
        )


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 30 if sys.platform == "darwin" else 1 << 20)  # bytes there, KiB on Linux

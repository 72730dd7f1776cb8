"""Where and in which number formats a network runs."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from geometry.errors import InputError
from geometry.models.vit import VisionTransformer


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


def machine() -> dict[str, object]:
    """What this machine is, without its name."""
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*: (.*)$", info.read_text(errors="replace"), re.MULTILINE)
        cpu = found[1] if found else cpu
    used = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    gpus = [torch.cuda.get_device_name(i) for i in used]
    return {
        "system": platform.platform(terse=True),
        "processor": cpu,
        "cores": os.cpu_count(),
        "gpus": gpus,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }

"""How much memory work takes."""

import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def peak_resident_bytes() -> int:
    """Largest resident memory of this process so far; it cannot be reset."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def reset_peak(device: "torch.device") -> None:
    """Start a new peak measurement; on CPU the peak is the process's and cannot be reset."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: "torch.device") -> int:
    """Peak memory in bytes: allocated by torch on a GPU, resident set of this process on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()

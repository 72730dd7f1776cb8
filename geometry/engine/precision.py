"""The one place that decides in which number formats training computes."""

import contextlib
from dataclasses import dataclass
from typing import Literal

import torch

from geometry.errors import InputError

FORMATS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Weights, gradients, optimizer state and EMA are float32; only computing may be narrower."""

    # Of matrix products and convolutions under torch.autocast. "fp16" adds loss scaling, since its gradients
    # underflow; "bf16" has the range of float32 and needs none.
    compute: Literal["float32", "bf16", "fp16"] = "float32"
    tf32: bool = True  # let float32 matrix products use tensor cores with a 10-bit mantissa (CUDA only)
    # Kernels that give the same bits each time: on CUDA, at some speed, an exact resume needs them.
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.compute not in FORMATS:
            raise InputError(f"precision.compute must be one of {', '.join(FORMATS)}, got {self.compute!r}")

    def apply(self) -> None:
        """Set torch's process-wide switches; called once when training starts, never at import."""
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.tf32
        if self.deterministic:
            # Some backward kernels (of interpolation, say) have no deterministic form: warn, do not stop.
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager:
        """Context for the forward pass."""
        if self.compute == "float32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=FORMATS[self.compute])

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaler; does nothing unless computing in fp16."""
        return torch.amp.GradScaler(device.type, enabled=self.compute == "fp16")

"""Linear maps by the fastest matrix product that the machine has; parameters stay in `nn.Linear`.

PyTorch multiplies float32 matrices on CPUs with MKL. On AMD processors oneDNN, which PyTorch carries for its
convolutions, is twice as fast (measured: docs/performance.md), so inference goes there. What autograd
records, half precision, compiled graphs and other devices take PyTorch's own path.
"""

import platform
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Rows of tokens that a block takes through its products at a time on a CPU: few enough for the widest
# intermediate to stay in the cache (and under the 32 MB above which every allocation is fresh pages from
# the kernel), many enough to keep the products efficient.
ROWS_IN_CACHE = 2048

_ONEDNN = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()


def linear(
    x: Float[Tensor, "*batch i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "*batch o"]:
    """``x @ weight.T + bias``."""
    if _takes_onednn(weight):
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def prepare(
    layer: nn.Linear, *, gelu: bool = False
) -> Callable[[Float[Tensor, "*batch i"]], Float[Tensor, "*batch o"]]:
    """A layer for several calls with the same weights, with its weights laid out once.

    Args:
        gelu: apply exact GELU to the result.
    """
    if _takes_onednn(layer.weight):
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS_IN_CACHE)
        activation, algorithm = ("gelu", "none") if gelu else ("none", "")
        return lambda x: torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight, layer.bias, activation, [], algorithm
        )
    return (lambda x: F.gelu(layer(x))) if gelu else layer


def in_pieces(x: Tensor) -> bool:
    """Whether work on ``x`` is better done piece by piece: inference on a CPU."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _takes_onednn(weight: Tensor) -> bool:
    return (
        _ONEDNN
        and in_pieces(weight)
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )

"""Linear maps by the fastest matrix product that the machine has; parameters stay in `nn.Linear`.

PyTorch multiplies float32 matrices on CPUs with MKL. On AMD processors oneDNN, which PyTorch carries for its
convolutions, is twice as fast (measured: docs/performance.md), so inference goes there; and in bfloat16 it is
quicker with weights laid out beforehand. What autograd records, float16, compiled graphs and other devices
take PyTorch's own path.
"""

import platform
from collections.abc import Callable, Sequence

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
    if takes_onednn(weight):
        dtype = product_dtype(weight)
        bias = None if bias is None else bias.to(dtype)
        return _product(x, weight.to(dtype).contiguous(), bias, dtype)
    return F.linear(x, weight, bias)


def prepare(
    layer: nn.Linear, *, gelu: bool = False
) -> Callable[[Float[Tensor, "*batch i"]], Float[Tensor, "*batch o"]]:
    """A layer for several calls with the same weights, with its weights cast and laid out once.

    Args:
        gelu: apply exact GELU to the result.
    """
    if takes_onednn(layer.weight):
        return _prepared(layer.weight, layer.bias, gelu=gelu)
    return (lambda x: F.gelu(layer(x))) if gelu else layer


def prepare_parts(
    layer: nn.Linear, parts: int
) -> Callable[[Float[Tensor, "*batch i"]], Sequence[Float[Tensor, "*batch p"]]]:
    """As `prepare`, for a layer whose output channels are wanted in equal parts.

    On CPUs each part is a product of its own: smaller results, each contiguous.
    """
    if takes_onednn(layer.weight):
        pairs = zip(layer.weight.chunk(parts), layer.bias.chunk(parts))
        products = [_prepared(weight, bias) for weight, bias in pairs]
        dtype = product_dtype(layer.weight)

        def multiply(x: Tensor) -> list[Tensor]:
            x = x.to(dtype)  # once for all parts
            return [product(x) for product in products]

        return multiply
    return lambda x: layer(x).chunk(parts, dim=-1)


def multiply_by(
    weight: Float[Tensor, "o i"], rows: int
) -> Callable[[Float[Tensor, "r i"]], Float[Tensor, "r o"]]:
    """``x @ weight.T`` for several x of about ``rows`` rows, where `takes_onednn`."""
    laid_out = _laid_out(weight, rows)
    return lambda x: _product(x, laid_out, None, weight.dtype)


def in_pieces(x: Tensor) -> bool:
    """Whether work on ``x`` is better done piece by piece: inference on a CPU."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def takes_onednn(x: Tensor) -> bool:
    """Whether products with ``x`` are quicker in oneDNN."""
    if not (_ONEDNN and in_pieces(x)):
        return False
    dtype = product_dtype(x)
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def product_dtype(x: Tensor) -> torch.dtype:
    """What a product with ``x`` is computed in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _prepared(weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Callable[[Tensor], Tensor]:
    dtype = product_dtype(weight)
    weight = _laid_out(weight.detach().to(dtype), ROWS_IN_CACHE)
    bias = None if bias is None else bias.to(dtype)
    return lambda x: _product(x, weight, bias, dtype, gelu=gelu)


def _laid_out(weight: Tensor, rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)


def _product(
    x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, gelu: bool = False
) -> Tensor:
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(
        x.to(dtype).contiguous(), weight, bias, activation, [], algorithm
    )

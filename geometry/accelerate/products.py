"""Linear maps by oneDNN, which PyTorch carries for its convolutions.

PyTorch multiplies float32 matrices on CPUs with MKL, which does not use the AVX-512 of AMD processors: there
oneDNN is quicker. In bfloat16 it is with weights laid out beforehand (measured: docs/performance.md).
"""

import platform
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

ONEDNN = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()


def serves(x: Tensor) -> bool:
    """Whether the fast forms apply: eager inference on a CPU. All else takes PyTorch's own path."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def product_dtype(x: Tensor) -> torch.dtype:
    """What a product with ``x`` is computed in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


@cache
def formats() -> tuple[torch.dtype, ...]:
    """Number formats of the products that oneDNN has here: bfloat16 needs instructions for it."""
    if not ONEDNN:
        return ()
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,)


def lay_out(weight: Float[Tensor, "o i"], rows: int = 2048) -> Tensor:
    """A weight in the layout that products of about ``rows`` rows want; for `multiply` alone."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)


def multiply(
    x: Float[Tensor, "*batch i"],
    weight: Tensor,
    bias: Float[Tensor, " o"] | None = None,
    *,
    gelu: bool = False,
) -> Float[Tensor, "*batch o"]:
    """``x @ weight.T + bias``, with exact GELU of it where wanted, in the format of ``weight``."""
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(
        x.to(weight.dtype).contiguous(), weight, bias, activation, [], algorithm
    )


class LaidOut:
    """One layer's weights laid out, until the layer's own change.

    Changes through ``.data``, which no version counts, are not noticed. Copies begin empty.
    """

    def __init__(self) -> None:
        self.clear()

    def __reduce__(self) -> tuple:
        return LaidOut, ()

    def clear(self) -> None:
        self.source: tuple = ()
        self.weights: tuple[Tensor, Tensor | None] | None = None

    def of(self, layer: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of ``layer`` for products in ``dtype``."""
        own = [p for p in (layer.weight, layer.bias) if p is not None]
        versions = [(p.data_ptr(), None if p.is_inference() else p._version) for p in own]
        source = (dtype, *versions)
        if self.weights is None or self.source != source:
            weight, *bias = (p.detach().to(dtype) for p in own)
            self.weights = lay_out(weight), bias[0] if bias else None
            self.source = source
        return self.weights

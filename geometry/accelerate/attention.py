"""Softmax attention as matrix products, where that is quicker than PyTorch's fused kernel.

On CPUs the fused kernel multiplies float32 matrices with MKL and gains nothing from bfloat16: over some
hundred tokens, products by oneDNN around a softmax can be quicker while the scores stay in the cache. Its
backward pass over few tokens costs several times what plain products do. Measured: docs/performance.md.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.accelerate.products import lay_out, multiply, product_dtype

SCORES_IN_CACHE = 1 << 20  # float32 scores held at a time, 4 MB: near the second-level caches of two cores
FEWEST_ROWS = 128  # queries at a time, at least: fewer make the products slow


def attention_by_products(
    query: Float[Tensor, "n heads L d"],
    key: Float[Tensor, "n heads L d"],
    value: Float[Tensor, "n heads L d"],
) -> Float[Tensor, "n heads L d"]:
    """The definition, all scores at once, with gradients."""
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value


def attention_by_rows(
    query: Float[Tensor, "n heads Q d"],
    key: Float[Tensor, "n heads L d"],
    value: Float[Tensor, "n heads L d"],
) -> Float[Tensor, "n heads Q d"]:
    """One head and some queries at a time, products by oneDNN; the result lies in memory as [n, Q, heads, d].

    In bfloat16 a score keeps 8 bits, so the keys' mean is taken off first: it adds the same to all scores of
    a query, which the softmax does not see, and what is left of them is smaller.
    """
    n, heads, Q, d = query.shape
    L = key.shape[-2]
    dtype = product_dtype(query)
    if dtype != torch.float32:
        key = key - key.mean(dim=-2, keepdim=True, dtype=torch.float32)
    rows = min(Q, max(FEWEST_ROWS, SCORES_IN_CACHE // L))
    mixed = query.new_empty(n, Q, heads, d, dtype=dtype).transpose(1, 2)
    for q, k, v, out in zip(*map(_heads, (query, key, value, mixed))):
        keys = lay_out(k.to(dtype).contiguous(), rows)
        values = lay_out(v.to(dtype).mT.contiguous(), rows)
        for some, result in zip((q * d**-0.5).to(dtype).split(rows), out.split(rows)):
            scores = multiply(some, keys)
            result.copy_(multiply(torch.softmax(scores, dim=-1, out=scores), values))
    return mixed


def _heads(x: Tensor) -> list[Tensor]:
    """The [L, d] matrices of a [n, heads, L, d] tensor, without a copy."""
    return [head for scene in x for head in scene]

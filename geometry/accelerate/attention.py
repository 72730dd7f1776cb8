"""Softmax attention by the fastest kernel that the machine has.

PyTorch's fused attention multiplies float32 matrices on CPUs with MKL and gains nothing from bfloat16. Over
more than some hundred tokens, plain products by oneDNN (`geometry.accelerate.linear`) around a softmax are
quicker as long as the scores stay in the cache (measured: docs/performance.md). Its backward pass over few
tokens costs several times what plain products do, in bfloat16 most.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from geometry.accelerate.linear import multiply_by, product_dtype, takes_onednn

LONG = 640  # tokens from which products around a softmax are quicker, in bfloat16 soonest
SHORT = 128  # tokens up to which plain products are quicker on a CPU where gradients are wanted
SCORES_IN_CACHE = 1 << 20  # float32 scores held at a time, 4 MB: near the second-level caches of two cores
FEWEST_ROWS = 128  # queries at a time, at least: fewer make the products slow


def attention(
    query: Float[Tensor, "n heads L d"],
    key: Float[Tensor, "n heads L d"],
    value: Float[Tensor, "n heads L d"],
) -> Float[Tensor, "n heads L d"]:
    """``softmax(query @ key.T / sqrt(d)) @ value``.

    Without gradients the result lies in memory as [n, L, heads, d].
    """
    if query.shape[-2] > LONG and takes_onednn(query):
        return _by_rows(query, key, value)
    if query.shape[-2] <= SHORT and query.device.type == "cpu" and _wants_gradients(query, key, value):
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        return torch.softmax(scores, dim=-1).to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)


def _by_rows(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One head and some queries at a time.

    In bfloat16 a score keeps 8 bits, so the keys' mean is taken off first: it adds the same to all scores of
    a query, which the softmax does not see, and what is left of them is smaller.
    """
    n, heads, L, d = query.shape
    dtype = product_dtype(query)
    if dtype != torch.float32:
        key = key - key.mean(dim=-2, keepdim=True, dtype=torch.float32)
    rows = min(L, max(FEWEST_ROWS, SCORES_IN_CACHE // L))
    mixed = query.new_empty(n, L, heads, d, dtype=dtype).transpose(1, 2)
    for q, k, v, out in zip(*map(_heads, (query, key, value, mixed))):
        to_scores = multiply_by(k.to(dtype).contiguous(), rows)
        to_values = multiply_by(v.to(dtype).mT.contiguous(), rows)
        for some, result in zip((q * d**-0.5).to(dtype).split(rows), out.split(rows)):
            scores = to_scores(some)
            result.copy_(to_values(torch.softmax(scores, dim=-1, out=scores)))
    return mixed


def _wants_gradients(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _heads(x: Tensor) -> list[Tensor]:
    """The [L, d] matrices of a [n, heads, L, d] tensor, without a copy."""
    return [head for scene in x for head in scene]

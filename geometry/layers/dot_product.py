"""Softmax attention by the fastest kernel that the machine has.

PyTorch's fused attention multiplies float32 matrices on CPUs with MKL and gains nothing from bfloat16. Over
sequences of thousands of tokens, plain products by oneDNN (see `geometry.layers.linear`) around a softmax are
quicker as long as the scores stay in the cache (measured: docs/performance.md).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from geometry.layers.linear import multiply_by, takes_onednn

LONG = 1024  # tokens from which products around a softmax are quicker
SCORES_IN_CACHE = 1 << 20  # float32 scores held at a time, 4 MB: near the second-level caches of two cores
FEWEST_ROWS = 128  # queries at a time, at least: fewer make the products slow


def attention(
    query: Float[Tensor, "n heads L d"],
    key: Float[Tensor, "n heads L d"],
    value: Float[Tensor, "n heads L d"],
) -> Float[Tensor, "n heads L d"]:
    """``softmax(query @ key.T / sqrt(d)) @ value``; the result lies in memory as [n, L, heads, d]."""
    if query.shape[-2] > LONG and takes_onednn(query):
        return _by_rows(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def _by_rows(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One head and some queries at a time, in float32 whatever the dtype: scores need its digits."""
    n, heads, L, d = query.shape
    rows = min(L, max(FEWEST_ROWS, SCORES_IN_CACHE // L))
    mixed = query.new_empty(n, L, heads, d).transpose(1, 2)
    for q, k, v, out in zip(*map(_heads, (query, key, value, mixed))):
        to_scores = multiply_by(k.float().contiguous(), rows)
        to_values = multiply_by(v.float().mT.contiguous(), rows)
        for some, result in zip((q.float() * d**-0.5).split(rows), out.split(rows)):
            scores = to_scores(some)
            result.copy_(to_values(torch.softmax(scores, dim=-1, out=scores)))
    return mixed


def _heads(x: Tensor) -> list[Tensor]:
    """The [L, d] matrices of a [n, heads, L, d] tensor, without a copy."""
    return [head for scene in x for head in scene]

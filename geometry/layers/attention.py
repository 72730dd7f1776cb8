"""Multi-head self-attention with optional query/key norm and rotary positions."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.layers.rope import Rotary, rotate_tokens


class Attention(nn.Module):
    """Self-attention of whole sequences.

    Args:
        qk_norm_eps: LayerNorm over each head of queries and keys with this eps; None leaves it out.
    """

    def __init__(self, width: int, heads: int, *, qk_norm_eps: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        head_dim = width // heads
        self.q_norm = nn.LayerNorm(head_dim, eps=qk_norm_eps) if qk_norm_eps else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=qk_norm_eps) if qk_norm_eps else nn.Identity()

    def forward(self, x: Float[Tensor, "n L D"], rotary: Rotary | None = None) -> Float[Tensor, "n L D"]:
        return self.proj(self.mix(*self.project(x, rotary)).transpose(1, 2).flatten(-2))

    def project(self, x: Float[Tensor, "n L D"], rotary: Rotary | None) -> list[Float[Tensor, "n heads L d"]]:
        """Queries, keys and values."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)  # [n, L, heads, d]
        query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = (t.transpose(1, 2) for t in (query, key, value))
        if rotary is not None:
            query, key = rotate_tokens(query, rotary), rotate_tokens(key, rotary)
        return [query, key, value]

    def mix(
        self,
        query: Float[Tensor, "n heads Q d"],
        key: Float[Tensor, "n heads L d"],
        value: Float[Tensor, "n heads L d"],
    ) -> Float[Tensor, "n heads Q d"]:
        """``softmax(query @ key.T / sqrt(d)) @ value``."""
        return F.scaled_dot_product_attention(query, key, value)

"""Multi-head self-attention with optional query/key norm and rotary positions."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.layers.linear import prepare
from geometry.layers.rope import Rotary, rotate_tokens


class Attention(nn.Module):
    """Self-attention; PyTorch picks the fused kernel that the device has (flash on CUDA in half precision).

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
        return self.prepared()(x, rotary)

    def prepared(self) -> Callable[[Tensor, Rotary | None], Tensor]:
        """`forward` for several calls with the same weights."""
        to_qkv, proj = prepare(self.qkv), prepare(self.proj)

        def attend(x: Tensor, rotary: Rotary | None) -> Tensor:
            qkv = to_qkv(x).unflatten(-1, (3, self.heads, -1))  # [n, L, 3, heads, d]
            query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [n, heads, L, d], a view
            query, key = self.q_norm(query), self.k_norm(key)
            if rotary is not None:
                query, key = rotate_tokens(query, rotary), rotate_tokens(key, rotary)
            mixed = F.scaled_dot_product_attention(query, key, value)
            return proj(mixed.transpose(1, 2).flatten(-2))

        return attend

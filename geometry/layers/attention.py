"""Multi-head self-attention with optional query/key norm and rotary positions."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate.attention import attention
from geometry.accelerate.linear import prepare, prepare_parts
from geometry.layers.rope import Rotary, rotate_tokens


class Attention(nn.Module):
    """Self-attention; see `geometry.accelerate.attention` for which kernel computes it.

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
        to_qkv, proj = prepare_parts(self.qkv, 3), prepare(self.proj)

        def attend(x: Tensor, rotary: Rotary | None) -> Tensor:
            query, key, value = (t.unflatten(-1, (self.heads, -1)) for t in to_qkv(x))  # [n, L, heads, d]
            # Norms come before the change of axes: what they take is contiguous, and is not copied.
            query, key = self.q_norm(query), self.k_norm(key)
            query, key, value = (t.transpose(1, 2) for t in (query, key, value))  # [n, heads, L, d]
            if rotary is not None:
                query, key = rotate_tokens(query, rotary), rotate_tokens(key, rotary)
            return proj(attention(query, key, value).transpose(1, 2).flatten(-2))

        return attend

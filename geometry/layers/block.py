"""One pre-norm transformer block."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate.linear import ROWS_IN_CACHE, in_pieces
from geometry.layers.attention import Attention
from geometry.layers.layer_scale import LayerScale
from geometry.layers.mlp import Mlp, SwiGlu
from geometry.layers.rope import Rotary


class Block(nn.Module):
    """``x += ls1(attention(norm1(x)))``, then ``x += ls2(feed_forward(norm2(x)))``."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        feed_forward: Literal["mlp", "swiglu"] = "mlp",
        qk_norm_eps: float | None = None,
        norm_eps: float = 1e-6,
        layer_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = Attention(width, heads, qk_norm_eps=qk_norm_eps)
        self.ls1 = LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = SwiGlu(width) if feed_forward == "swiglu" else Mlp(width)
        self.ls2 = LayerScale(width, layer_scale)

    def forward(self, x: Float[Tensor, "n L D"], rotary: Rotary | None = None) -> Float[Tensor, "n L D"]:
        if in_pieces(x):
            return self._forward_in_pieces(x, rotary)
        x = self.ls1(self.attn(self.norm1(x), rotary), x)
        return self.ls2(self.mlp(self.norm2(x)), x)

    def _forward_in_pieces(self, x: Tensor, rotary: Rotary | None) -> Tensor:
        """The same numbers, a few sequences (attention) and a few rows (MLP) at a time.

        Whole intermediates of many views would go through memory; these stay in the cache.
        """
        attend, feed_forward = self.attn.prepared(), self.mlp.prepared()
        out = torch.empty_like(x)
        sequences = max(1, ROWS_IN_CACHE // x.shape[1])
        for old, new in zip(x.split(sequences), out.split(sequences)):
            self.ls1(attend(self.norm1(old), rotary), old, out=new)
        for rows in out.flatten(0, 1).split(ROWS_IN_CACHE):
            self.ls2(feed_forward(self.norm2(rows)), rows, out=rows)
        return out

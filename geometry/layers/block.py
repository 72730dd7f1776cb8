"""One pre-norm transformer block."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.layers.attention import Attention
from geometry.layers.layer_scale import LayerScale
from geometry.layers.mlp import Mlp, SwiGlu
from geometry.layers.rope import Rotary


class Block(nn.Module):
    """``x += ls1(attention(norm1(x)))``, then ``x += ls2(feed_forward(norm2(x)))``.

    Attributes:
        drop_path: in training, share of the rows of a batch that skip each of the two branches; the others'
            branches are scaled up for it. Source: stochastic depth (arXiv:1603.09382).
    """

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
        self.drop_path = 0.0

    def forward(self, x: Float[Tensor, "n L D"], rotary: Rotary | None = None) -> Float[Tensor, "n L D"]:
        x = self.ls1(self._kept(self.attn(self.norm1(x), rotary)), x)
        return self.ls2(self._kept(self.mlp(self.norm2(x))), x)

    def _kept(self, branch: Float[Tensor, "n L D"]) -> Float[Tensor, "n L D"]:
        if not (self.training and self.drop_path):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * (kept / (1 - self.drop_path)).to(branch.dtype)

"""Fast forms of the network's modules: subclasses that hold nothing else and compute the same.

`accelerate` makes a module one of these by changing its class. Each serves eager inference on a CPU
(`products.serves`) as its plan says, and hands everything else to the plain form.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate.attention import attention_by_products, attention_by_rows
from geometry.accelerate.plan import Plan
from geometry.accelerate.products import LaidOut, formats, multiply, product_dtype, serves
from geometry.layers.attention import Attention
from geometry.layers.block import Block
from geometry.layers.mlp import Mlp
from geometry.layers.rope import Rotary
from geometry.models.dpt import DenseHead

FEWEST_ROWS = 256  # tokens below which laying weights out costs more than the product gains
SHORT = 128  # tokens up to which plain products are the quicker attention where gradients are wanted


class Form:
    """What all fast forms have."""

    plan: Plan | None  # None takes the machine's, measured when it is first needed

    def plan_for(self, x: Tensor) -> Plan:
        """What to do with ``x``, where `serves`."""
        dtype = product_dtype(x)
        plan = self.plan or Plan.for_machine(dtype)
        return plan if dtype in formats() else replace(plan, products=False, attention=False)


class FastLinear(Form, nn.Linear):
    """Products by oneDNN."""

    laid_out: LaidOut

    def forward(self, x: Float[Tensor, "*batch i"], *, gelu: bool = False) -> Float[Tensor, "*batch o"]:
        """``x @ weight.T + bias``; ``gelu`` applies exact GELU to it in the same pass."""
        if x.numel() >= FEWEST_ROWS * self.in_features and serves(x) and self.plan_for(x).products:
            return multiply(x, *self.laid_out.of(self, product_dtype(x)), gelu=gelu)
        x = super().forward(x)
        return F.gelu(x) if gelu else x


class FastMlp(Form, Mlp):
    """GELU inside the first product."""

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        return self.fc2(self.fc1(x, gelu=True))


class FastAttention(Form, Attention):
    """Another kernel: by rows in inference on long sequences, by plain products in training on short ones."""

    def mix(
        self,
        query: Float[Tensor, "n heads L d"],
        key: Float[Tensor, "n heads L d"],
        value: Float[Tensor, "n heads L d"],
    ) -> Float[Tensor, "n heads L d"]:
        L, trained = query.shape[-2], any(x.requires_grad for x in (query, key, value))
        if serves(query):
            plan = self.plan_for(query)
            if plan.attention and plan.long < L:
                return attention_by_rows(query, key, value)
        if L <= SHORT and query.device.type == "cpu" and trained and torch.is_grad_enabled():
            return attention_by_products(query, key, value)
        return super().mix(query, key, value)


class FastBlock(Form, Block):
    """Some sequences (attention) and some tokens (MLP) at a time, so that intermediates stay in the cache."""

    keeps: bool  # weights stay laid out after a call

    def forward(self, x: Float[Tensor, "n L D"], rotary: Rotary | None = None) -> Float[Tensor, "n L D"]:
        if not serves(x):
            return super().forward(x, rotary)
        rows = self.plan_for(x).rows or x.shape[0] * x.shape[1]
        out = torch.empty_like(x)
        sequences = max(1, rows // x.shape[1])
        for old, new in zip(x.split(sequences), out.split(sequences)):
            torch.addcmul(old, self.attn(self.norm1(old), rotary), self.ls1.gamma, out=new)
        for some in out.flatten(0, 1).split(rows):
            torch.addcmul(some, self.mlp(self.norm2(some)), self.ls2.gamma, out=some)
        # Outside inference mode somebody trains, and sharded weights change in ways that no version counts.
        if not (self.keeps and torch.is_inference_mode_enabled()):
            for module in self.modules():
                if isinstance(module, FastLinear):
                    module.laid_out.clear()
        return out


class FastHead(Form, DenseHead):
    """Fewer views at a time; joined with each kind of dense head (`apply`)."""

    def views_at_once(self, chunk: int, patches: Float[Tensor, "n T D"], cells: int) -> int:
        limit = self.plan_for(patches).head_bytes if serves(patches) else None
        return chunk if limit is None else min(chunk, max(1, limit // (4 * self.features * cells)))

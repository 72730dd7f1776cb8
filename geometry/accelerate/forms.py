"""Fast forms of the network's modules: subclasses that hold nothing else and compute the same.

`accelerate` makes a module one of these by changing its class. Each serves eager inference on a CPU
(`products.serves`) as its plan says, and hands everything else to the plain form.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

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
from geometry.threads import evenly, share

FEWEST_ROWS = 256  # tokens below which neither laying weights out nor another thread pays
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
        query: Float[Tensor, "n heads Q d"],
        key: Float[Tensor, "n heads L d"],
        value: Float[Tensor, "n heads L d"],
    ) -> Float[Tensor, "n heads Q d"]:
        L, trained = key.shape[-2], any(x.requires_grad for x in (query, key, value))
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
        x = x.contiguous()
        out, (n, L, _), threads = torch.empty_like(x), x.shape, torch.get_num_threads()
        rows = self.plan_for(x).rows or n * L
        each = max(1, rows // threads)  # tokens that a thread takes at a time
        if threads == 1 or n * L < FEWEST_ROWS * threads:
            self._sequences(x, out, rotary, rows)
        elif evenly(n):
            some = max(1, each // L)
            share(lambda part: self._sequences(*part, rotary, each), zip(x.split(some), out.split(some)))
        else:
            self._together(x, out, rotary, each)
        # Outside inference mode somebody trains, and sharded weights change in ways that no version counts.
        if not (self.keeps and torch.is_inference_mode_enabled()):
            for module in self.modules():
                if isinstance(module, FastLinear):
                    module.laid_out.clear()
        return out

    def _sequences(
        self, x: Float[Tensor, "n L D"], out: Float[Tensor, "n L D"], rotary: Rotary | None, rows: int
    ) -> None:
        """The block by the calling thread, about ``rows`` tokens at a time."""
        sequences = max(1, rows // x.shape[1])
        for old, new in zip(x.split(sequences), out.split(sequences)):
            torch.addcmul(old, self.attn(self.norm1(old), rotary), self.ls1.gamma, out=new)
        for some in out.flatten(0, 1).split(rows):
            self._feed_forward(some)

    def _together(
        self, x: Float[Tensor, "n L D"], out: Float[Tensor, "n L D"], rotary: Rotary | None, rows: int
    ) -> None:
        """The block by all threads at once: some tokens, then some queries of a head, then tokens again."""
        (n, L, D), threads = x.shape, torch.get_num_threads()
        heads, period = self.attn.heads, L if rotary is None else rotary.period
        triple = x.new_empty(3, n, heads, L // period, period, D // heads, dtype=product_dtype(x))
        mixed = x.new_empty(n, L, heads, D // heads, dtype=triple.dtype)

        def project(view: tuple[int, int]) -> None:
            i, j = view
            some = x[i : i + 1, j * period : (j + 1) * period]
            for all_of, these in zip(triple, self.attn.project(self.norm1(some), rotary)):
                all_of[i, :, j] = these[0]

        def mix(query: tuple[int, int, slice]) -> None:
            i, h, some = query
            q, k, v = (t[i : i + 1, h : h + 1].flatten(2, 3) for t in triple)
            mixed[i : i + 1, some, h] = self.attn.mix(q[:, :, some], k, v)[:, 0]

        def finish(some: tuple[Tensor, ...]) -> None:
            old, new, of_heads = some
            torch.addcmul(old, self.attn.proj(of_heads.flatten(-2)), self.ls1.gamma, out=new)
            self._feed_forward(new)

        share(project, product(range(n), range(L // period)))
        several = L if evenly(n * heads) else rows
        queries = [slice(first, first + several) for first in range(0, L, several)]
        share(mix, product(range(n), range(heads), queries))
        parts = threads * max(1, round(n * L / (rows * threads)))
        share(finish, zip(*(t.flatten(0, 1).tensor_split(parts) for t in (x, out, mixed))))

    def _feed_forward(self, x: Float[Tensor, "m D"]) -> None:
        """``x += ls2(mlp(norm2(x)))``, in place."""
        torch.addcmul(x, self.mlp(self.norm2(x)), self.ls2.gamma, out=x)


class FastHead(Form, DenseHead):
    """Fewer views at a time; joined with each kind of dense head (`apply`)."""

    def views_at_once(self, chunk: int, patches: Float[Tensor, "n T D"], cells: int) -> int:
        limit = self.plan_for(patches).head_bytes if serves(patches) else None
        if limit is None:
            return chunk
        threads = torch.get_num_threads() if evenly(len(patches)) else 1
        return min(chunk, max(1, limit // (4 * self.features * cells * threads)))

    def each(self, part: Callable[[int], None], starts: Sequence[int], patches: Tensor) -> None:
        if serves(patches) and evenly(len(starts)):
            share(part, starts)
        else:
            super().each(part, starts, patches)

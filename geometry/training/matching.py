"""The matching term of a training step: attention supervised by correspondences from depth and cameras."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.layers.rope import across_views, rotate_tokens
from geometry.losses.matching import matching_loss
from geometry.models.vit import VisionTransformer
from geometry.ops.correspondence import PatchMatches, match_patches
from geometry.views import Truth

_NORMS = ("q_norm", "k_norm")


@dataclass(frozen=True, kw_only=True)
class MatchingSettings:
    """Which attention is supervised to match; used where the weight of ``matching`` is not 0."""

    blocks: int = 2  # the first so many that see all views: what they find, later ones can use
    heads: int = 1  # of each; the others stay free
    queries: int = 256  # query patches of each scene in a step: bounds the cost
    tolerance: float = 0.1  # of depth, to detect occlusion

    def __post_init__(self) -> None:
        if min(self.blocks, self.heads, self.queries) < 1:
            raise InputError(
                f"step.matching: expected at least one block, head and query, got {self.blocks}, "
                f"{self.heads}, {self.queries}"
            )


class AttentionMatching:
    """Records queries and keys of attention across views, and scores them.

    Queries and keys are taken by hooks where attention normalises them, so nothing is computed twice and
    sharded or checkpointed blocks work as without.

    Raises:
        InputError: the backbone has fewer such blocks or heads.
    """

    def __init__(self, backbone: VisionTransformer, settings: MatchingSettings) -> None:
        across = [i for i in range(len(backbone.blocks)) if backbone.crosses_views(i)]
        heads = backbone.blocks[0].attn.heads  # type: ignore[union-attr]
        if settings.blocks > len(across) or settings.heads > heads:  # type: ignore[operator]
            raise InputError(
                f"step.matching: expected {settings.blocks} blocks across views and {settings.heads} heads, "
                f"the network has {len(across)} and {heads}"
            )
        self.settings = settings
        self._patch = backbone.patch
        self._taught = [backbone.blocks[i].attn for i in across[: settings.blocks]]

    @contextmanager
    def recorded(self) -> Iterator[dict[tuple[int, str], Tensor]]:
        """Normed queries and keys [B, V * S, heads, d] of the forward pass inside, by block and name."""
        seen: dict[tuple[int, str], Tensor] = {}

        def recorder(place: tuple[int, str]) -> Callable[[nn.Module, object, Tensor], None]:
            def record(module: nn.Module, inputs: object, output: Tensor) -> None:
                seen.setdefault(place, output)  # checkpointing comes by again, in the backward pass

            return record

        handles = [
            getattr(attention, name).register_forward_hook(recorder((i, name)))
            for i, attention in enumerate(self._taught)
            for name in _NORMS
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def loss(
        self, seen: dict[tuple[int, str], Tensor], truth: Truth, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """`matching_loss`, the mean over the taught blocks, and its accuracy."""
        settings, patch = self.settings, self._patch
        matches = match_patches(
            truth, patch, queries=settings.queries, tolerance=settings.tolerance, generator=generator
        )
        V, H, W = truth.depth.shape[1:]
        grid = (H // patch, W // patch)
        where = (matches, V, grid)
        scores = [
            matching_loss(
                attention_logits(*(seen[i, name][:, :, : settings.heads].float() for name in _NORMS), *where),  # type: ignore[arg-type, call-arg]
                matches,
            )
            for i in range(len(self._taught))
        ]
        loss, accuracy = (torch.stack(values).mean() for values in zip(*scores))
        return loss, accuracy


def attention_logits(
    query: Float[Tensor, "B L heads d"],
    key: Float[Tensor, "B L heads d"],
    matches: PatchMatches,
    views: int,
    grid: tuple[int, int],
) -> Float[Tensor, "B heads Q V S"]:
    """Logits of attention across views, for the query patches.

    Args:
        query, key: normed, not yet rotated. Patches stand still in this rotation, camera tokens turn.
    """
    T = grid[0] * grid[1]
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    key = rotate_tokens(key, across_views(grid, key.shape[-1], device=key.device))
    asked = matches.patch // T * (T + 1) + 1 + matches.patch % T
    query = query.take_along_dim(asked[:, None, :, None], dim=2)
    logits = query @ key.mT / query.shape[-1] ** 0.5
    return logits.unflatten(-1, (views, T + 1))

"""Activation checkpointing of a model's repeated blocks, in place: no parameter is renamed."""

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(blocks: list[nn.Module]) -> None:
    """Let each block drop its inner activations and recompute them in the backward pass."""
    for block in blocks:
        # The module's call, with the hooks of FSDP on it, stays outside; only forward is repeated.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)

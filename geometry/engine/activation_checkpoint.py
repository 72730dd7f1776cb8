"""Activation checkpointing of a model's repeated modules, in place: no parameter is renamed."""

import functools
from collections.abc import Iterable

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(modules: Iterable[nn.Module]) -> None:
    """Let each module drop its inner activations and recompute them in the backward pass.

    One that has a switch ``recompute`` is left to do so by parts.
    """
    for module in modules:
        if hasattr(module, "recompute"):
            module.recompute = True  # type: ignore[assignment]
        else:
            # The module's call, with the hooks of FSDP on it, stays outside; only forward is repeated.
            module.forward = functools.partial(checkpoint, module.forward, use_reentrant=False)

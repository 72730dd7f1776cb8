"""Activation checkpointing and compilation of a model's repeated blocks, in place.

Neither renames a parameter, so checkpoints are the same with and without.
"""

import functools
from typing import Any, Literal

from torch import nn
from torch.utils.checkpoint import checkpoint

from geometry.errors import InputError


def checkpoint_activations(blocks: list[nn.Module]) -> None:
    """Let each block forget its inner activations and compute them again in the backward pass."""
    _require(blocks, "activation_checkpointing")
    for block in blocks:
        # The module's call, with the hooks of FSDP on it, stays outside; only forward is repeated.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def compile_model(
    model: nn.Module, blocks: list[nn.Module], scope: Literal["blocks", "model"], options: dict[str, Any]
) -> None:
    """torch.compile each block (fast to compile, robust) or the whole model (may fuse more).

    Args:
        options: keyword arguments of torch.compile. With sizes that vary from step to step,
            ``dynamic: true`` avoids compiling once per size.
    """
    if scope == "model":
        model.compile(**options)
    elif scope == "blocks":
        _require(blocks, "compile: blocks")
        for block in blocks:
            block.compile(**options)
    else:
        raise InputError(f"compile must be null, blocks or model, got {scope!r}")


def _require(blocks: list[nn.Module], setting: str) -> None:
    if not blocks:
        raise InputError(f"{setting} needs to know the model's blocks: this step has no method blocks()")

"""torch.compile of a model or of its repeated blocks, in place: no parameter is renamed."""

from typing import Any, Literal

from torch import nn

from geometry.errors import InputError


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
        for block in blocks:
            block.compile(**options)
    else:
        raise InputError(f"compile_scope must be null, blocks or model, got {scope!r}")

"""Tensors by name: to and from .safetensors files, and strictly into modules."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from geometry.atomic import atomic_file
from geometry.console import some
from geometry.errors import InputError


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, floating ones as float32, and the file's metadata.

    Raises:
        InputError: missing, or not a whole file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {}
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = file.get_tensor(name)
                tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
    return tensors, metadata


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str], *, dtype: torch.dtype = torch.float32
) -> None:
    """Write atomically; floating tensors as ``dtype``."""
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).detach().cpu().contiguous().clone()
        for k, v in tensors.items()
    }
    with atomic_file(path) as temporary:
        Path(temporary).write_bytes(serialise(tensors, metadata))


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 bits of weights, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        total.update(f"{name} {list(tensor.shape)}\n".encode())
        total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str, *, what: str) -> None:
    """Assign a state dict to a module, or raise with everything that does not fit.

    Raises:
        InputError: names what is missing, unexpected or of another shape.
    """
    require_fit(state, module.state_dict(), source, what=what)
    module.load_state_dict(dict(state), strict=True, assign=True)


def require_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str, *, what: str) -> None:
    """
    Args:
        source: where the given tensors come from.
        what: they are wanted for, for the message.

    Raises:
        InputError: names what is missing, unexpected or of another shape.
    """
    shapes = [
        f"{k} {list(given[k].shape)} instead of {list(wanted[k].shape)}"
        for k in sorted(wanted.keys() & given.keys())
        if given[k].shape != wanted[k].shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unexpected": sorted(given.keys() - wanted.keys()),
        "other shapes": shapes,
    }
    found = [f"{problem}: {some(names)}" for problem, names in problems.items() if names]
    if found:
        raise InputError(f"{source}: does not fit {what}; {'; '.join(found)}")

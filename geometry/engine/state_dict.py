"""The state of a training run as plain tensors by name, and back.

Names are those of the unwrapped model and tensors are whole, so a checkpoint does not depend on how
the model was spread: it may be written by FSDP on eight processes and resumed on one.

Not from torch.distributed.checkpoint.state_dict, because its strict loading refuses a parameter that has had
no gradient yet and so no optimizer state (a camera encoder before the first sample with cameras).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from geometry.errors import InputError


def frozen_hash(model: nn.Module) -> str:
    """SHA-256 over names, types and bits of the frozen parameters; empty when there are none."""
    total = hashlib.sha256()
    frozen = {n: p for n, p in model.named_parameters() if not p.requires_grad}
    for name, parameter in sorted(frozen.items()):
        total.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
        bits = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        total.update(bits.numpy().data)
    return total.hexdigest() if frozen else ""


def whole(tensor: Tensor, keep: bool) -> Tensor | None:
    """CPU copy of a tensor, gathered if it is sharded (all processes must call); None unless ``keep``."""
    tensor = tensor.detach()
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.to("cpu", copy=True) if keep else None


def gathered(state: Mapping[str, Any], keep: bool) -> dict[str, Any]:
    """The tensors of a state as `whole` has them, other values as they are."""
    return {name: whole(v, keep) if isinstance(v, Tensor) else v for name, v in state.items()}


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A whole CPU tensor, put on the device of ``like`` and sharded as it is."""
    value = value.to(like.device)
    if hasattr(like, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        # Every process has read the whole tensor: each cuts out its own shard, none is sent.
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]
    return value


def kept_tensors(model: nn.Module, *, frozen: bool) -> dict[str, Tensor]:
    """What a checkpoint holds of a model, in the model's memory: frozen parameters only if asked for."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if frozen or name not in parameters or parameters[name].requires_grad
    }


def under_all_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of parameters under each name of a tied parameter: load_state_dict wants them all."""
    name_of = {id(p): n for n, p in model.named_parameters() if n in tensors}
    everything = model.named_parameters(remove_duplicate=False)
    return {name: tensors[name_of[id(p)]] for name, p in everything if id(p) in name_of}


@torch.no_grad()
def restore_model(model: nn.Module, weights: Mapping[str, Tensor], *, frozen: bool) -> None:
    """Copy saved weights into the model.

    Raises:
        InputError: names or shapes are not those of this model.
    """
    own = kept_tensors(model, frozen=frozen)
    require_same_names(set(weights), set(own), "weights")
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"the checkpoint's {name} has shape {list(weights[name].shape)}, "
                f"the model's {list(tensor.shape)}"
            )
        tensor.copy_(placed(weights[name], tensor))


def restore_optimizer(
    optimizer: Optimizer, trained: Mapping[str, nn.Parameter], saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back each parameter's state by name; learning rates stay those of the present config.

    Raises:
        InputError: other parameters were trained.
    """
    require_same_names(set(saved), set(trained), "trained parameters")
    name_of = {id(p): n for n, p in trained.items()}

    def fitted(value: Any, parameter: nn.Parameter) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.clone()  # the file is only mapped
        return placed(value, parameter) if value.dim() and value.shape == parameter.shape else value

    parameters = [p for group in optimizer.param_groups for p in group["params"]]  # as torch numbers them
    state = {
        number: {key: fitted(value, p) for key, value in saved[name_of[id(p)]].items()}
        for number, p in enumerate(parameters)
        if saved[name_of[id(p)]]  # empty for a parameter that has had no gradient yet
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def require_same_names(saved: set[str], present: set[str], what: str) -> None:
    """
    Raises:
        InputError: the two sets differ; the message names examples from both sides.
    """
    if saved != present:
        missing, extra = sorted(present - saved), sorted(saved - present)
        raise InputError(
            f"the checkpoint's {what} are not this run's: {len(missing)} only here "
            f"({', '.join(missing[:3])}), {len(extra)} only in the checkpoint ({', '.join(extra[:3])}). "
            "Resume with the same model and the same frozen parts, or start in a new folder"
        )

"""The state of a training run as plain tensors by name, and back.

Names are those of the unwrapped model and tensors are whole, so a checkpoint does not depend on how
the model was spread: it may be written by FSDP on eight processes and resumed on one.

Not from torch.distributed.checkpoint.state_dict, because its strict loading refuses a parameter that has had
no gradient yet and so no optimizer state (a camera encoder before the first sample with cameras).
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from geometry.errors import InputError


def freeze_all_but(model: nn.Module, trained: dict[str, nn.Parameter]) -> None:
    """Switch gradients on for the trained parameters and off for all others."""
    chosen = {id(p) for p in trained.values()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)


def frozen_hash(model: nn.Module) -> str:
    """SHA-256 over names, types and bits of the frozen parameters; empty when there are none."""
    total = hashlib.sha256()
    frozen = [(n, p) for n, p in model.named_parameters() if not p.requires_grad]
    for name, parameter in sorted(frozen, key=lambda item: item[0]):
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


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A whole CPU tensor, put on the device of ``like`` and sharded as it is."""
    value = value.to(like.device)
    if hasattr(like, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        # Every process has read the whole tensor: each cuts out its own shard, none is sent.
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]
    return value


class ModelTensors:
    """Parameters and persistent buffers of a model by their plain names.

    Made after the model is spread: sharding replaces parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        # With duplicates: tied weights have several names, and load_state_dict needs each.
        self.parameters = dict(model.named_parameters(remove_duplicate=False))
        self.buffers = {n: b for n, b in model.state_dict(keep_vars=True).items() if n not in self.parameters}
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def collect(self, *, keep: bool, frozen: bool) -> dict[str, Tensor | None]:
        chosen = {n: p for n, p in self.parameters.items() if frozen or p.requires_grad}
        return {name: whole(t, keep) for name, t in {**chosen, **self.buffers}.items()}

    def collect_average(self, average: dict[str, Tensor], *, keep: bool) -> dict[str, Tensor | None]:
        """The average under every name its parameter has."""
        name_of = {id(p): n for n, p in self.trained.items()}
        names = {n: name_of[id(p)] for n, p in self.parameters.items() if id(p) in name_of}
        return {name: whole(average[first], keep) for name, first in names.items()}

    @torch.no_grad()
    def restore(self, weights: dict[str, Tensor], *, frozen: bool) -> None:
        """Copy saved weights into the model.

        Raises:
            InputError: names or shapes are not those of this model.
        """
        wanted = {n: p for n, p in self.parameters.items() if frozen or p.requires_grad}
        wanted.update(self.buffers)
        require_same_names(set(weights), set(wanted), "weights")
        for name, tensor in wanted.items():
            if weights[name].shape != tensor.shape:
                raise InputError(
                    f"the checkpoint's {name} has shape {list(weights[name].shape)}, "
                    f"the model's {list(tensor.shape)}"
                )
            tensor.copy_(placed(weights[name], tensor))


def collect_optimizer(
    optimizer: Optimizer, trained: dict[str, nn.Parameter], *, keep: bool
) -> dict[str, Any]:
    """The optimizer's state of each trained parameter, by the parameter's name."""
    state: dict[str, Any] = {}
    for name, parameter in trained.items():
        entries = optimizer.state.get(parameter, {})
        state[name] = {k: whole(v, keep) if isinstance(v, Tensor) else v for k, v in entries.items()}
    return state


def restore_optimizer(
    optimizer: Optimizer, trained: dict[str, nn.Parameter], saved: dict[str, dict[str, Any]]
) -> None:
    """Put `collect_optimizer`'s result back; learning rates stay those of the present config.

    Raises:
        InputError: other parameters were trained.
    """
    require_same_names(set(saved), set(trained), "trained parameters")
    name_of = {id(p): n for n, p in trained.items()}
    current = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for group, packed in zip(optimizer.param_groups, current["param_groups"]):
        for parameter, number in zip(group["params"], packed["params"]):
            entries = saved[name_of[id(parameter)]]
            if entries:  # empty for a parameter that has had no gradient yet
                state[number] = {k: _fitted(v, parameter) for k, v in entries.items()}
    optimizer.load_state_dict({"state": state, "param_groups": current["param_groups"]})


def _fitted(value: Any, parameter: nn.Parameter) -> Any:
    """A saved entry with its parameter's device and sharding; a copy, since the file is only mapped."""
    if not isinstance(value, Tensor):
        return value
    same_shape = value.dim() and value.shape == parameter.shape
    return placed(value.clone(), parameter) if same_shape else value.clone()


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

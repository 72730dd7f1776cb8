"""The state of a training run as tensors by name.

Names are those of the unwrapped model, and torch.distributed.checkpoint cuts tensors as the present processes
want them, so a checkpoint does not depend on how the model was spread.

Not from torch.distributed.checkpoint.state_dict, because its strict loading refuses a parameter that has had
no gradient yet and so no optimizer state (a camera encoder before the first sample with cameras).
"""

import hashlib
from collections.abc import Mapping

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


def placed(value: Tensor, like: Tensor) -> Tensor:
    """A whole CPU tensor, put on the device of ``like`` and sharded as it is."""
    value = value.to(like.device)
    if hasattr(like, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        # Every process has read the whole tensor: each cuts out its own shard, none is sent.
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]
    return value


def run_tensors(
    model: nn.Module,
    trained: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    average: Mapping[str, Tensor],
    *,
    frozen: bool,
) -> dict[str, Tensor]:
    """All tensors of a run where they lie in memory: ``model.NAME``, ``ema.NAME``, ``optimizer.NAME.KEY``.

    Args:
        frozen: with frozen parameters.
    """
    left_out = set() if frozen else {n for n, p in model.named_parameters() if not p.requires_grad}
    left_out |= tied_names(model).keys()
    tensors = {f"model.{n}": t for n, t in model.state_dict().items() if n not in left_out}
    tensors |= {f"ema.{name}": tensor for name, tensor in average.items()}
    for name, parameter in trained.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"optimizer.{name}.{key}"] = torch.as_tensor(value)
    return tensors


def tied_names(model: nn.Module) -> dict[str, str]:
    """Further names of parameters that have more than one, and the first of each."""
    first = {id(p): name for name, p in model.named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in every if first[id(p)] != name}


@torch.no_grad()
def make_room(optimizer: Optimizer, trained: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]) -> None:
    """Give the optimizer the tensors that it had when saved, sharded as parameters are, to be filled."""
    for full, like in saved.items():
        kind, _, rest = full.partition(".")
        name, _, key = rest.rpartition(".")
        if kind == "optimizer" and name in trained:
            parameter = trained[name]
            same = like.dim() and like.shape == parameter.shape
            optimizer.state[parameter][key] = (
                torch.zeros_like(parameter, dtype=like.dtype)
                if same
                else torch.zeros(like.shape, dtype=like.dtype)
            )


def require_fitting(saved: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
    """
    Raises:
        InputError: names or shapes of a checkpoint are not this run's.
    """
    missing, extra = sorted(present.keys() - saved.keys()), sorted(saved.keys() - present.keys())
    if missing or extra:
        raise InputError(
            f"the checkpoint's tensors are not this run's: {len(missing)} only here "
            f"({', '.join(missing[:3])}), {len(extra)} only in the checkpoint ({', '.join(extra[:3])}). "
            "Resume with the same model and the same frozen parts, or start in a new folder"
        )
    for name, tensor in present.items():
        if saved[name].shape != tensor.shape:
            raise InputError(
                f"the checkpoint's {name} has shape {list(saved[name].shape)}, "
                f"this run's {list(tensor.shape)}"
            )

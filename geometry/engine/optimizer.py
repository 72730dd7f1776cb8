"""Which parameters are trained, how fast, and with what weight decay."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from geometry.errors import InputError

# Learned positions and tokens are inputs, not maps: weight decay does not regularise them.
NO_DECAY_NAME = re.compile(r"(^|[._])(bias|tokens?|pos_embed|gamma)($|[._])")


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a factor on the learning rate, under a name that the log shows."""

    name: str
    parameters: dict[str, nn.Parameter]  # by their names in the step's model
    lr_factor: float = 1.0


def parameter_groups(
    model: nn.Module,
    lr_factors: Mapping[str, float] | None = None,
    *,
    layers: str | None = None,
    layer_decay: float = 1.0,
) -> list[ParameterGroup]:
    """Groups by the beginning of a parameter's name; what has factor 0 is left out, so it stays frozen.

    Args:
        lr_factors: prefix -> factor, for example ``{"": 1.0, "backbone": 0.1}``; the longest prefix
            that fits counts, whole name parts only. None trains everything at factor 1. A parameter
            that no prefix fits is frozen.
        layers: prefix of a list of blocks, say "backbone.blocks", to which ``layer_decay`` applies.
        layer_decay: block i of n gets ``layer_decay ** (n - 1 - i)`` on top of its factor; parameters
            beside the list that come before block 0 (same parent module: patch embedding, tokens, but
            not a final norm) get ``layer_decay ** n``.

    Raises:
        InputError: a prefix fits no parameter.
    """
    factors = {"": 1.0} if lr_factors is None else dict(lr_factors)
    names = [name for name, _ in model.named_parameters()]
    for prefix in [*factors, *([layers] if layers else [])]:
        if not any(_starts(name, prefix) for name in names):
            some = ", ".join(sorted({n.split(".")[0] for n in names}))
            raise InputError(f"lr_factors: no parameter begins with {prefix!r}; there are {some}")

    below = _layers_below(names, layers) if layers else {}
    groups: dict[tuple[str, float], dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        prefix = max((p for p in factors if _starts(name, p)), key=len, default=None)
        if prefix is None or factors[prefix] == 0:
            continue
        factor, label = factors[prefix], prefix or "all"
        if layer := below.get(name):
            factor, label = factor * layer_decay**layer, f"{label}-{layer}"
        groups.setdefault((label, factor), {})[name] = parameter
    return [ParameterGroup(name=n, parameters=p, lr_factor=f) for (n, f), p in groups.items()]


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to norms, biases, tokens and anything else that is 1-D."""
    wide = sum(size > 1 for size in parameter.shape)
    return wide > 1 and not NO_DECAY_NAME.search(name)


def checked_names(model: nn.Module, groups: list[ParameterGroup]) -> set[str]:
    """Names of all that is trained, once it is clear that the groups fit the model.

    Raises:
        InputError: nothing is trained, a parameter is in two groups, or it is not the model's.
    """
    own = dict(model.named_parameters())
    seen: set[str] = set()
    for group in groups:
        for name, parameter in group.parameters.items():
            if own.get(name) is not parameter:
                raise InputError(f"trainable group {group.name!r}: the model has no parameter {name!r}")
            if name in seen:
                raise InputError(f"trainable group {group.name!r}: {name} is in another group too")
            seen.add(name)
    if not seen:
        raise InputError("trainable_parameters() names no parameter: there is nothing to train")
    return seen


def build_optimizer(
    factory: Callable[[list[dict]], Optimizer],
    groups: Iterable[ParameterGroup],
    sharded: Mapping[str, nn.Parameter] | None = None,
) -> Optimizer:
    """Optimizer over the groups, each split in two where weight decay applies to a part of it.

    Args:
        factory: for example ``functools.partial(torch.optim.AdamW, lr=2e-4)``; Hydra makes one with
            ``_partial_: true``.
        sharded: what took the parameters' places since, by name.
    """
    built: list[dict] = []
    for group in groups:
        own = {name: (sharded or group.parameters)[name] for name in group.parameters}
        for decay, options in ((True, {}), (False, {"weight_decay": 0.0})):
            if chosen := [p for name, p in own.items() if decays(name, p) == decay]:
                built.append({"params": chosen, "name": group.name, "lr_factor": group.lr_factor, **options})
    optimizer = factory(built)
    for options in optimizer.param_groups:
        options["base_lr"] = options["lr"] * options["lr_factor"]
    return optimizer


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Give every group its own rate times the schedule's factor."""
    for options in optimizer.param_groups:
        options["lr"] = options["base_lr"] * factor


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None) -> float:
    """Scale gradients down to a total norm of ``max_norm``; returns the norm before.

    None or 0 clips nothing, but still measures.
    """
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    return (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item()  # sharded: over all shards


def _starts(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(prefix + ".")


def _layers_below(names: list[str], layers: str) -> dict[str, int]:
    """How many layers parameters lie below the last block, of those in blocks and before them."""
    block = re.compile(re.escape(layers) + r"\.(\d+)\.")
    number = {name: int(found[1]) for name in names if (found := block.match(name))}
    count = 1 + max(number.values(), default=-1)
    first = next((i for i, name in enumerate(names) if name in number), 0)
    before = [name for name in names[:first] if _starts(name, layers.rpartition(".")[0])]
    return {name: count - 1 - i for name, i in number.items()} | dict.fromkeys(before, count)

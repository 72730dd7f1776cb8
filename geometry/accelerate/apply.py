"""Making a built network fast, and plain again."""

from functools import cache
from typing import TypeVar

from torch import nn

from geometry.accelerate.forms import FastAttention, FastBlock, FastHead, FastLinear, FastMlp, Form
from geometry.accelerate.plan import Plan
from geometry.accelerate.products import LaidOut
from geometry.layers.attention import Attention
from geometry.layers.block import Block
from geometry.layers.mlp import Mlp
from geometry.models.dpt import DenseHead

Module = TypeVar("Module", bound=nn.Module)

IN_BLOCKS = {Attention: FastAttention, Mlp: FastMlp, nn.Linear: FastLinear, Block: FastBlock}


def accelerate(network: Module, plan: Plan | None = None) -> Module:
    """The network itself, its transformer blocks and dense heads in the form that is fast on a CPU.

    Parameters, their names and everything on other devices, under `torch.compile` or with gradients stay
    as they are, with one exception: attention that trains on short sequences on a CPU goes by plain products.
    Call it before blocks are compiled or sharded. A second call changes the plan.

    Args:
        plan: None takes `Plan.for_machine`, measured at the first inference on a CPU.
    """
    blocks = [module for module in network.modules() if type(module) in (Block, FastBlock)]
    size = sum(parameter.nbytes for block in blocks for parameter in block.parameters())
    for module in (module for block in blocks for module in block.modules()):
        _become(module, IN_BLOCKS.get(type(module)), plan)
        if isinstance(module, FastLinear):
            module.laid_out = LaidOut()
        if isinstance(module, FastBlock):
            module.keeps = size <= (plan or Plan()).kept_bytes
    for module in network.modules():
        if isinstance(module, DenseHead):
            _become(module, _fast_head(type(module)), plan)  # type: ignore[arg-type]
    return network


def plain(network: Module) -> Module:
    """The network itself, as it was before `accelerate`."""
    for module in network.modules():
        if isinstance(module, Form):
            module.__class__ = next(c for c in type(module).__mro__ if not issubclass(c, Form))  # type: ignore
            for name in ("plan", "laid_out", "keeps"):
                module.__dict__.pop(name, None)
    return network


def _become(module: nn.Module, form: type[Form] | None, plan: Plan | None) -> None:
    if form is not None:
        module.__class__ = form  # type: ignore[assignment]
    if isinstance(module, Form):
        module.plan = plan


@cache
def _fast_head(kind: type[DenseHead]) -> type[Form]:
    return kind if issubclass(kind, Form) else type(f"Fast{kind.__name__}", (FastHead, kind), {})

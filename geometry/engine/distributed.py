"""Several processes: rank, sharding of the model, and reductions.

torchrun sets the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR); without it there is one
process. Nothing else in the engine knows torch.distributed, but for sharded tensors in `state`.
"""

import contextlib
import datetime
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from geometry.engine.precision import FORMATS
from geometry.engine.state_dict import whole
from geometry.engine.step import TrainingStep, Validation, ValidationRun, blocks_of
from geometry.errors import InputError

LAST_MESSAGE_S = 0.1


def is_first_process() -> bool:
    """Whether this is the only process or the first of torchrun's: the one that prints and writes files."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process among all."""

    rank: int
    world_size: int
    device: torch.device
    behind: dist.ProcessGroup | None = None  # all processes, for messages of a thread beside the training's

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """How the model is spread over processes; on one process it makes no difference.

    Attributes:
        strategy: "ddp": a whole copy on each process; "fsdp": weights, gradients and optimizer state
            are sharded (torch.distributed.fsdp.fully_shard), for models too large for one device.
        find_unused_parameters: DDP only. True allows steps in which a part of the model has no
            gradient (a camera encoder in a step without cameras); False is a little faster. Under FSDP
            parameters outside blocks may lack one as well, and then count as having gradient zero, where DDP
            leaves them alone; but all processes must call the same blocks equally often.
        shard_over: FSDP only. Processes that share one copy, usually those of one machine; groups of them are
            copies of each other and exchange gradients alone (HSDP, for slow links between machines). None:
            all.
        gather: FSDP only, of the step's ``blocks()``, which autocast narrows anyway: their weights travel in
            this format. Half as much to send in bf16; what is outside of blocks stays float32.
        reduce: FSDP only: format in which gradients of blocks are added up over processes.
        reshard_after_forward: FSDP only. True frees a block's whole weights after its forward pass and
            gathers them again for the backward pass; False keeps them, which is faster.
        timeout_minutes: a process that waits longer than this for the others stops with an error.
    """

    strategy: Literal["ddp", "fsdp"] = "ddp"
    find_unused_parameters: bool = True
    shard_over: int | None = None
    gather: Literal["float32", "bf16"] = "float32"
    reduce: Literal["float32", "bf16"] = "float32"
    reshard_after_forward: bool = True
    timeout_minutes: float = 30

    def __post_init__(self) -> None:
        if self.strategy not in ("ddp", "fsdp"):
            raise InputError(f"parallel.strategy must be ddp or fsdp, got {self.strategy!r}")
        for name in ("gather", "reduce"):
            if getattr(self, name) not in ("float32", "bf16"):
                raise InputError(f"parallel.{name} must be float32 or bf16, got {getattr(self, name)!r}")


@contextlib.contextmanager
def processes(parallel: Parallel, device: str | torch.device | None) -> Iterator[Process]:
    """Join the other processes for the length of the block.

    Args:
        device: "cpu", "cuda", "cuda:1" or None for CUDA where there is one. Under torchrun "cuda"
            means the device of this process's local rank.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if kind.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device {device} was asked for, but torch sees no CUDA device: use device=cpu")
        if kind.index is None or world_size > 1:
            kind = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(kind)

    joined_here = world_size > 1 and not dist.is_initialized()
    if joined_here:
        _join("nccl" if kind.type == "cuda" else "gloo", parallel.timeout_minutes)
    try:
        if dist.is_initialized():
            behind = dist.new_group(backend="gloo")
            yield Process(rank=dist.get_rank(), world_size=dist.get_world_size(), device=kind, behind=behind)
        else:
            yield Process(rank=0, world_size=1, device=kind)
    finally:
        if joined_here:
            # Gloo's threads need Python's lock to let go of the last message. A program that ends before they
            # had it aborts ("terminate called without an active exception"); FSDP's models keep them alive.
            time.sleep(LAST_MESSAGE_S)
            dist.destroy_process_group()


_joins = itertools.count()
_PLACE = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")


def _join(backend: str, timeout_minutes: float) -> None:
    wait = datetime.timedelta(minutes=timeout_minutes)
    shared, rank, world_size = _store(*(os.environ.get(name) for name in _PLACE), wait=wait)
    # The store outlives a group of processes. Under the same names the next group (the second run of a
    # comparison) would at times find the addresses of the one before and wait forever.
    store = dist.PrefixStore(f"join_{next(_joins)}", shared)
    store.set_timeout(wait)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=wait)


_stores: dict[tuple[str | None, ...], tuple[dist.Store, int, int]] = {}


def _store(*place: str | None, wait: datetime.timedelta) -> tuple[dist.Store, int, int]:
    """The store of a place, its rank and world size, made once and kept.

    Made anew for each group, the other processes could still meet the last one as it closes, and the first
    process would wait for them forever.
    """
    if place not in _stores:
        _stores[place] = next(dist.rendezvous("env://", timeout=wait))
    return _stores[place]


class StepModule(nn.Module):
    """The step as a module, so that DDP and FSDP see one forward call whatever the step does inside.

    A step may call any method of its model, several times, in any order: all of it happens inside
    this forward, where gradients are watched (DDP) and weights are whole (FSDP).
    """

    def __init__(self, step: TrainingStep) -> None:
        super().__init__()
        self.model = step.model
        object.__setattr__(self, "step", step)  # a step may be a module itself: keep it out of the tree
        self.touch_all = False

    def forward(self, batch: Any = None, source: Any = None) -> Any:
        """Training loss of a batch; or, when ``source`` is a ValidationRun, the validation."""
        if isinstance(source, ValidationRun):
            return self.step.validate(source)  # type: ignore[operator, union-attr]
        loss, terms = self.step.training_loss(batch, source)  # type: ignore[operator, union-attr]
        if self.touch_all:
            loss = loss + 0 * sum(p.flatten()[0] for p in self.parameters() if _is_whole_and_trained(p))
        return loss, {name: torch.as_tensor(term).detach() for name, term in terms.items()}


def _is_whole_and_trained(parameter: nn.Parameter) -> bool:
    """Inside StepModule.forward under FSDP: True for what is in no block, since blocks are sharded there."""
    return parameter.requires_grad and not hasattr(parameter, "full_tensor")


class SpreadStep:
    """A step spread over processes by a strategy."""

    def __init__(self, step: TrainingStep, process: Process, parallel: Parallel) -> None:
        self.inner = StepModule(step)
        self.outer: nn.Module = self.inner
        self.sharded = process.world_size > 1 and parallel.strategy == "fsdp"
        if self.sharded:
            self._shard(blocks_of(step), process, parallel)
        elif process.world_size > 1:
            self.outer = DistributedDataParallel(
                self.inner, find_unused_parameters=parallel.find_unused_parameters
            )

    def _shard(self, blocks: list[nn.Module], process: Process, parallel: Parallel) -> None:
        # Imported here: it takes a second, and only sharded runs need it.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        # DDP copies the first process's weights to the others by itself; fully_shard does not.
        for tensor in (*self.inner.parameters(), *self.inner.buffers()):
            dist.broadcast(tensor.data, src=0)
        shards = parallel.shard_over or process.world_size
        if process.world_size % shards:
            raise InputError(
                f"parallel.shard_over: expected a divisor of {process.world_size} processes, got {shards}"
            )
        copies = process.world_size // shards
        sizes = {"copies": copies, "shards": shards} if copies > 1 else {"shards": shards}
        mesh = init_device_mesh(process.device.type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        policy = MixedPrecisionPolicy(
            FORMATS[parallel.gather], FORMATS[parallel.reduce], cast_forward_inputs=False
        )
        for block in blocks:
            fully_shard(
                block, mesh=mesh, mp_policy=policy, reshard_after_forward=parallel.reshard_after_forward
            )
        fully_shard(self.inner, mesh=mesh, reshard_after_forward=False)
        # FSDP packs the gradients that are there into one message. If a branch were used on one process
        # only, the messages would differ in length and the run would crash: let each have a gradient.
        self.inner.touch_all = True

    def loss(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return self.outer(batch, generator)

    def validate(self, run: ValidationRun) -> Validation:
        # Not through DDP, which would exchange buffers at each call.
        validation = self.inner(None, run)
        if self.sharded:
            # No backward pass follows that would free the gathered weights; the next training step would
            # then go on with them, although the optimizer and the EMA only ever change the shards.
            self._reshard()
        return validation

    def _reshard(self) -> None:
        for module in self.inner.modules():
            if hasattr(module, "reshard"):
                module.reshard()  # type: ignore[operator]

    def make_whole(self, process: Process) -> None:
        """Give the first process plain weights again, on the CPU, to read and write; all must call.

        Shards are of no use once the other processes are gone, and checkpoints lack what was frozen.
        """
        if not self.sharded:
            return
        self._reshard()  # FSDP would put its shards back over weights that it believes gathered
        for module in self.inner.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                tensor = whole(parameter, keep=process.is_first)
                if process.is_first:
                    setattr(module, name, nn.Parameter(tensor, requires_grad=parameter.requires_grad))

    def release(self) -> None:
        """Let go of the other processes; must precede the end of `processes`.

        DDP's C++ part owns their group too. Were it the last owner, the group would be taken down while
        Python's lock is held, which gloo's threads may be waiting for: the process would hang.
        """
        self.outer = self.inner

    @contextlib.contextmanager
    def exchange(self, wanted: bool) -> Iterator[None]:
        """Whether backward passes in the block average gradients over processes.

        Only the last micro-batch of a step needs to; before it, gradients add up locally.
        """
        if self.sharded:
            self.inner.set_requires_gradient_sync(wanted)  # type: ignore[operator]
            yield
        elif self.outer is not self.inner and not wanted:
            with self.outer.no_sync():  # type: ignore[operator]
                yield
        else:
            yield


def sum_over(process: Process, values: list[float]) -> list[float]:
    """Each number summed over all processes."""
    if process.world_size == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=process.device)
    dist.all_reduce(tensor)
    return tensor.tolist()


def gather(process: Process, value: Any) -> list[Any]:
    """Plain values of all processes, in rank order, on every process."""
    if process.world_size == 1:
        return [value]
    values: list[Any] = [None] * process.world_size
    dist.all_gather_object(values, value)
    return values


def from_first(process: Process, value: Any) -> Any:
    """The first process's plain value, on every process."""
    if process.world_size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def weighted_means(parts: Sequence[tuple[dict[str, float], float | dict[str, float]]]) -> dict[str, float]:
    """Mean of each named number over (numbers, weight) parts that have it; a weight may differ by name."""
    means: dict[str, float] = {}
    for name in sorted({name for numbers, _ in parts for name in numbers}):
        having = [(n[name], w[name] if isinstance(w, dict) else w) for n, w in parts if name in n]
        total = sum(weight for _, weight in having)
        means[name] = sum(v * w for v, w in having) / total if total else float("nan")
    return means

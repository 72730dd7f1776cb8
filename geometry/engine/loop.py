"""The training loop: one function, `fit`, for every model of this project."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from geometry.engine import checkpoint, distributed, seeding, state_dict
from geometry.engine.activation_checkpoint import checkpoint_activations
from geometry.engine.checkpoint import CannotSave, Saving
from geometry.engine.compile import compile_model
from geometry.engine.distributed import Parallel, Process, gather
from geometry.engine.divergence import Diverged, DivergenceGuard, not_finite
from geometry.engine.ema import WeightAverage
from geometry.engine.interrupt import StopSignal
from geometry.engine.loader import DataStream
from geometry.engine.lock import lock_folder
from geometry.engine.log import Meter, RunLog, combined_means, progress_line
from geometry.engine.notes import Notes
from geometry.engine.optimizer import build_optimizer, checked_names, clip_gradients, set_learning_rate
from geometry.engine.precision import Precision
from geometry.engine.samplers import SampleRequest
from geometry.engine.schedule import Schedule
from geometry.engine.seeding import make_generator, seed_everything
from geometry.engine.step import TrainingStep, ValidationRun, blocks_of
from geometry.engine.throughput import Throughput, readable_time
from geometry.errors import InputError
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.stored_config import changes, plain

JUDGED = 20  # scenes passed over of a set before its share of broken ones can stop a run


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended."""

    step: int  # updates done
    finished: bool  # all steps are done, or `Saving.patience` is; False when a signal stopped it
    metrics: dict[str, float] = field(default_factory=dict)  # of the last validation
    checkpoint: Path | None = None  # the newest one, None if nothing was trained
    best: Path | None = None  # the best one by ``saving.best_metric``


def fit(
    step: TrainingStep, data: DataStream, optimizer: Callable[[list[dict]], Optimizer], **settings: Any
) -> FitResult:
    """Train ``step`` on ``data``, from the newest checkpoint in ``out`` if there is one.

    Runs on one process or, under torchrun, on many; the global batch is what the data's sampler says,
    cut into ``world_size * accumulate`` equal parts.

    Args:
        step: model, losses, validation; see `TrainingStep`.
        optimizer: makes the optimizer from parameter groups, such as a `functools.partial` of AdamW;
            not an optimizer itself, because sharding replaces the parameters first.
        settings: ``steps``, ``out`` and the others of `Run`.

    Returns:
        How the run ended. The first process's ``step.model`` then has the weights last trained; what was
        sharded is whole again, on the CPU, to be read and written but not run.

    Raises:
        InputError: the settings, data and model do not fit together, another run trains in ``out``, or too
            much of a data set is broken.
        Diverged: the loss or the gradient is not finite too often, or the loss diverged. Checkpoints are left
            as they are.
    """
    run = Run(step, data, optimizer, **settings)
    with distributed.processes(run.parallel, run.device) as run.process, run.stop, run.held:
        run.prepare()
        run.open()
        result = run.train()
        run.spread.make_whole(run.process)
        return result


@dataclass
class Run:
    """One call of `fit`: its settings, and what changes while it runs."""

    step: TrainingStep
    data: DataStream
    optimizer: Callable[[list[dict]], Optimizer]
    _: KW_ONLY
    steps: int  # updates of the whole run, those before a resume included
    out: str | Path  # folder of checkpoints, log and images; on several machines a folder they share
    seed: int = 0  # of data order, samples, the step's generators and the global ones; not of the model
    accumulate: int = 1  # micro-batches that each process adds up before an update
    clip_norm: float | None = 1.0  # bound on the norm of the whole gradient; None does not clip
    ema_decay: float | None = None  # share of the old average kept by each step; None keeps no average.
    # Validation uses the average where there is one.
    schedule: Schedule = field(default_factory=Schedule)
    precision: Precision = field(default_factory=Precision)
    parallel: Parallel = field(default_factory=Parallel)
    saving: Saving = field(default_factory=Saving)
    guard: DivergenceGuard = field(default_factory=DivergenceGuard)
    activation_checkpointing: bool = False  # recompute the step's ``blocks()`` and ``heads()`` in the
    # backward pass
    compile_scope: Literal["blocks", "model"] | None = None  # what torch.compile is applied to,
    compile_options: dict[str, Any] = field(default_factory=dict)  # and with what
    validate_every: int | None = None  # steps between validations, and one at the end; None: never
    validate_first: bool = False  # also before the first step, which shows where a warm start begins
    log_every: int = 10
    # Steps, as the log numbers them, in which nothing is loaded and trained; the others stay as they are.
    skip_steps: Sequence[int] = ()
    # A run stops when more than this share of the draws from one data set met a scene that cannot be used.
    most_broken: float = 0.1
    tensorboard: bool = True
    track: str | None = None  # "wandb" or "mlflow": numbers go there as well
    device: str | None = None
    resume: bool = True  # False demands an ``out`` without checkpoints
    config: dict[str, Any] = field(default_factory=dict)  # plain values that describe the run, stored with
    # each checkpoint; changes against them are reported when a run resumes

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} must be a whole number, got {getattr(self, name)!r}")
        self.config = plain(self.config)
        self.folder = Path(self.out) / "checkpoints"
        self.process: Process
        self.stop = StopSignal()
        self.done = 0  # updates made
        self.best: float | None = None  # value of saving.best_metric
        self.stale = 0  # validations since then
        self.metrics: dict[str, float] = {}  # of the last validation
        self.metrics_step = -1  # and when that was
        self.checkpoint: Path | None = None
        self.writing: checkpoint.Writing | None = None  # a checkpoint on its way to the disk,
        self.written = False  # and whether all processes are done with it
        self.meter, self.terms, self.throughput = Meter(), Meter(), Throughput()
        self.notes = Notes()  # of this process's data since the last report,
        self.damage = Notes()  # and of all processes' since the start
        self.held = ExitStack()  # the other processes, the folder and the log, to be let go of in turn
        self.saved_at = self.throughput.clock()

    # ------------------------------------------------------------------ setting up

    def prepare(self) -> None:
        """Freeze, move, wrap; then build the optimizer over what the wrapping left."""
        model, device = self.step.model, self.process.device
        self.precision.apply()
        getattr(self.step, "to", model.to)(device)
        groups = self.step.trainable_parameters()
        trained = checked_names(model, groups)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)
        self.frozen = "" if self.saving.save_frozen else state_dict.frozen_hash(model)
        model.train()

        blocks = blocks_of(self.step)
        heads: list[nn.Module] = getattr(self.step, "heads", list)()
        if not blocks and ((self.activation_checkpointing and not heads) or self.compile_scope == "blocks"):
            raise InputError(
                "activation_checkpointing and compile_scope=blocks need the model's blocks: this step "
                "has no method blocks()"
            )
        if self.activation_checkpointing:
            checkpoint_activations([*blocks, *heads])
        if self.compile_scope:
            compile_model(model, blocks, self.compile_scope, self.compile_options)
        self.spread = distributed.SpreadStep(self.step, self.process, self.parallel)
        self.held.callback(self.spread.release)
        self.held.callback(lambda: self.writing and wait([self.writing.future]))  # where the run failed
        if self.spread.sharded and self.precision.compute == "fp16":
            raise InputError("fp16 with FSDP is not supported: loss scaling sees one shard only. Use bf16")

        self.trained = {
            n: p for n, p in model.named_parameters() if p.requires_grad
        }  # sharding replaces them
        self.optim = build_optimizer(self.optimizer, groups, self.trained)
        self.scaler = self.precision.scaler(device)
        self.average = WeightAverage(self.trained, self.ema_decay) if self.ema_decay else None

    def open(self) -> None:
        """Resume from the newest checkpoint or start anew; open the log. The folder is this run's alone."""
        self._agree(lambda: lock_folder(Path(self.out), self.held))
        if not self.resume and checkpoint.list_checkpoints(self.folder):
            raise InputError(
                f"{self.folder} holds checkpoints already: choose another folder, or let the run resume"
            )
        found = self._agree(lambda: checkpoint.newest_whole(self.folder))
        seed_everything(self.seed, "process", self.process.rank)
        if found:
            if not all(gather(self.process, found.is_dir())):
                raise InputError(
                    f"{found} is not visible on every machine: {self.out} must be a shared folder"
                )
            self.restore(found)
        first = self.process.is_first
        self.log = RunLog(
            Path(self.out),
            active=first,
            step=self.done,
            tensorboard=self.tensorboard,
            track=self.track,
            config=self.config,
        )
        self.held.callback(self.log.close)
        self.saved_at = self.throughput.clock()
        if found:
            self.log.say(f"resuming from {found} at step {self.done}")

    def restore(self, path: Path) -> None:
        """Resume the run at a checkpoint, such that it continues as if it had never stopped."""
        meta = checkpoint.read_meta(path)
        if meta["seed"] != self.seed:
            raise InputError(f"{path} was trained with seed {meta['seed']}, this run has seed {self.seed}")
        if meta["save_frozen"] != self.saving.save_frozen:
            raise InputError(f"{path} was written with saving.save_frozen={meta['save_frozen']}: keep it")
        if meta["frozen_sha256"] != self.frozen:
            raise InputError(
                f"{path}: the frozen weights are not those this run was started with (or others are "
                "frozen). Load the same ones, or start in a new folder"
            )
        state, saved = checkpoint.read_file(path, "training"), checkpoint.saved_tensors(path)
        if self.average and not any(name.startswith("ema.") for name in saved):
            raise InputError(f"{path} has no average of the weights: set ema_decay=null to resume it")
        # Earlier versions stored tied parameters under each of their names.
        tied = state_dict.tied_names(self.step.model)
        aliases = {f"{kind}.{name}" for name in tied for kind in ("model", "ema")}
        saved = {
            name: tensor
            for name, tensor in saved.items()
            if name not in aliases and (self.average or not name.startswith("ema."))
        }
        state_dict.make_room(self.optim, self.trained, saved)
        state_dict.require_fitting(saved, tensors := self.tensors())
        checkpoint.read_tensors(path, tensors)
        self.optim.load_state_dict(self.optim.state_dict())  # which places a fused optimizer's counters
        self.scaler.load_state_dict(state["scaler"])
        self.guard.load(state["guard"])
        if self.average:
            self.average.updates = state["ema_updates"]
        self.done, self.best, self.metrics = meta["step"], state["best"], meta["metrics"]
        self.stale = state.get("stale", 0)  # earlier versions did not count them
        self.checkpoint = path
        before = len(state["processes"])
        parts = state.get("parts", before * self.accumulate)  # earlier versions did not store it
        if before == self.process.world_size:
            mine = state["processes"][self.process.rank]
            seeding.set_random_state(mine["random"])
            self.meter, self.terms = Meter(mine["meter"]), Meter(mine["terms"])
        else:
            seed_everything(self.seed, "process", self.process.rank, self.done)
        if (before, parts) != (self.process.world_size, self.parts):
            random = "of dropout" if parts == self.parts else "of the step and of dropout"
            self._warn(
                f"resuming on {self.process.world_size} processes ({self.parts} parts a step) what {before} "
                f"trained ({parts} parts): {self._samples_after(parts)}; random numbers {random} are others"
            )
        for change in changes(meta["config"], self.config):
            self._warn(f"resuming with a changed config: {change}")

    # ------------------------------------------------------------------ training

    def train(self) -> FitResult:
        """All steps that are left, with reports, validations and checkpoints between them."""
        # An interruption leaves out the validation that was due then.
        missed = self.validate_every and self.done and self.done % self.validate_every == 0
        wanted = (self.validate_first and self.done == 0) or (missed and not self.metrics)
        if wanted and self.validate():
            self.save(settled=True)
        process = self.process
        batches = self.data.steps(
            self.done,
            self.done if self.given_up else self.steps,
            seed=self.seed,
            rank=process.rank,
            world_size=process.world_size,
            accumulate=self.accumulate,
            device=process.device,
            skip={step - 1 for step in self.skip_steps},
        )
        self.throughput.pause()
        for parts in batches:
            self.throughput.data_arrived()
            interrupted, due = self.update(parts) if parts else self.exchange()[1:]
            self.done += 1
            last = self.done == self.steps
            if self.done % self.log_every == 0 or last:
                self.report()
            improved = False
            # Not when interrupted: there may be seconds left. The resumed run makes up for it.
            if self.validate_every and (last or (self.done % self.validate_every == 0 and not interrupted)):
                improved = self.validate()
                last = last or self.given_up
            if improved or interrupted or last or due or self.done % self.saving.every == 0:
                # A new best one is waited for: written again after a failure, it would be of a later step.
                self.save(final=interrupted or last, settled=interrupted or last or improved)
            elif self.written:
                self.settle()
            if interrupted and not last:
                self.log.say(
                    f"interrupted at step {self.done} of {self.steps}; the newest checkpoint is "
                    f"{self.checkpoint}. Run the same command with the same out ({self.out}) to resume."
                )
                break
            if self.given_up:
                self.log.say(
                    f"stopped at step {self.done}: {self.saving.best_metric} was not better than "
                    f"{self.best} in {self.stale} validations on end (saving.patience)"
                )
                break
            self.throughput.pause()
        return FitResult(
            step=self.done,
            finished=self.done >= self.steps or self.given_up,
            metrics=self.metrics,
            checkpoint=self.checkpoint,
            best=checkpoint.best_checkpoint(self.folder, self.saving) if self.saving.best_metric else None,
        )

    def update(self, parts: list[tuple[int, Any, Notes]]) -> tuple[bool, bool]:
        """One optimizer step, none where loss or gradient is not finite; returns what `exchange` says."""
        process, step, index = self.process, self.step, self.done
        set_learning_rate(self.optim, self.schedule.factor(index, self.steps, self.parts))
        if hasattr(step, "begin_step"):
            step.begin_step(index, self.steps)
        total = torch.zeros((), device=process.device)
        items: Any = Counter()
        done: list[tuple[Tensor, dict[str, Tensor], Notes]] = []
        for i, (samples, batch, notes) in enumerate(parts):
            part = process.rank * self.accumulate + i
            generator = make_generator(process.device, self.seed, "step", index, part)
            with self.spread.exchange(wanted=i == len(parts) - 1):
                with self.precision.autocast(process.device):
                    loss, terms = self.spread.loss(batch, generator)
                self.scaler.scale(loss / self.accumulate).backward()
            total += loss.detach() / self.accumulate
            done.append((loss.detach(), terms, notes))
            items.update(step.count_items(batch) if hasattr(step, "count_items") else {"samples": samples})

        # Reading the numbers waits for the device. Not to wait would mean to update with a gradient
        # before knowing that it is finite, and one bad update ends a run.
        self.scaler.unscale_(self.optim)
        norm = clip_gradients(self.trained.values(), self.clip_norm)
        mean_loss, *asked = self.exchange(total.item())
        self.notes.add(Notes(counts=notes.counts, examples=notes.examples) for _, _, notes in done)
        skipped = self.guard.skipped
        if reason := self.guard.check(mean_loss, norm, scaled=self.scaler.is_enabled()):
            raise self._diverged(reason, mean_loss, norm, done)
        what = not_finite(mean_loss, norm)  # the same on all processes, since both numbers are
        if what is None:
            self.scaler.step(self.optim)
            if self.average:
                self.average.update()
        self.scaler.update()  # under fp16 an overflow lowers the loss scale
        self.optim.zero_grad(set_to_none=True)
        self.throughput.step(items)
        if self.guard.skipped > skipped:
            self._skipped(str(what), mean_loss, norm, done)
        else:
            self.meter.add({"loss": mean_loss, "gradient_norm": norm})
            for _, terms, _ in done:
                self.terms.add(terms)
        return asked[0], asked[1]

    def exchange(self, loss: float = 0.0) -> tuple[float, bool, bool]:
        """The mean of all processes' losses; whether any was asked to stop; whether it is time to save."""
        minutes, age = self.saving.every_minutes, self.throughput.clock() - self.saved_at
        due = self.process.is_first and minutes is not None and age >= 60 * minutes
        writing = self.writing is not None and not self.writing.future.done()
        asked = [loss, float(self.stop.requested), float(due), float(writing)]
        sums = distributed.sum_over(self.process, asked)
        self.written = sums[3] == 0
        return sums[0] / self.process.world_size, sums[1] > 0, sums[2] > 0

    def validate(self) -> bool:
        """Score the model; returns whether it is the best so far."""
        process, started = self.process, self.throughput.clock()
        run = ValidationRun(
            step=self.done,
            generator=make_generator(process.device, self.seed, "validation"),
            device=process.device,
            rank=process.rank,
            world_size=process.world_size,
        )
        averaged = self.average.applied() if self.average else nullcontext()
        self.step.model.eval()
        with (
            seeding.unchanged_random_state(),
            torch.no_grad(),
            averaged,
            self.precision.autocast(process.device),
        ):
            seed_everything(self.seed, "validation", process.rank)
            result = self.spread.validate(run)
        self.step.model.train()

        numbers = {name: float(value) for name, value in result.metrics.items()}
        self.metrics = distributed.weighted_means(gather(process, (numbers, result.weight)))
        self.metrics_step = self.done
        # Not during a row of bad steps, whose checkpoint would not be written.
        improved = self.guard.healthy and self.saving.better(self.metrics, self.best)
        self.stale += 1
        if improved:
            self.best, self.stale = self.metrics[self.saving.best_metric], 0
        seconds = self.throughput.clock() - started
        self.log.images(self.done, result.images)
        self.log.write("validation", self.done, metrics=self.metrics, seconds=round(seconds, 3))
        text = "  ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        best = "  (best so far)" if improved else ""
        self.log.say(f"step {self.done} validation: {text}  in {readable_time(seconds)}{best}")
        return improved

    def report(self) -> None:
        """Log the means since the last report."""
        process = self.process
        waiting = self.throughput.data_share()  # `rates` starts it anew
        local = (self.terms.state(), self.throughput.rates(), peak_bytes(process.device), waiting, self.notes)
        terms, rates, peaks, waits, notes = zip(*gather(process, local))
        self.notes = Notes()
        damage = self._damage(notes)
        entry = {
            "loss": math.nan,  # where every update was skipped
            "gradient_norm": math.nan,
            **combined_means([self.meter.state()]),  # the same on all processes
            "terms": combined_means(list(terms)),
            "lr": {group["name"]: group["lr"] for group in self.optim.param_groups},
            "per_second": {name: sum(r.get(name, 0.0) for r in rates) for name in rates[0]},
            "data_share": max(waits),
            "memory_bytes": max(peaks),
            "seconds_left": self.throughput.seconds_left(self.steps - self.done),
            "skipped": self.guard.skipped,
            **({"damage": damage} if damage else {}),
        }
        self.log.write("train", self.done, **entry)
        self.log.progress(progress_line(self.done, self.steps, entry))
        self.meter, self.terms = Meter(), Meter()
        reset_peak(process.device)
        self._require_whole_data()

    def _damage(self, notes: Sequence[Notes]) -> dict[str, dict[str, int]]:
        """Counts since the start of the sets in which anything was damaged; each kind is told once."""
        told = set(self.damage.examples)
        self.damage.add(notes)
        for (name, what), message in self.damage.examples.items():
            if (name, what) not in told:
                self.log.say(f"{name}: {what.replace('_', ' ')}: {message}")
        return {n: dict(c) for n, c in self.damage.counts.items() if set(c) - {"samples"}}

    def _require_whole_data(self) -> None:
        """
        Raises:
            InputError: too many draws from a set met a scene that cannot be used.
        """
        for name, counts in self.damage.counts.items():
            broken = counts["passed_over"]
            share = broken / max(1, broken + counts["samples"])
            if broken >= JUDGED and share > self.most_broken:
                raise InputError(
                    f"{name}: expected at most {self.most_broken:.0%} of its draws to meet a scene that "
                    f"cannot be used (loop.most_broken), got {share:.0%} ({broken}), the first: "
                    f"{self.damage.examples[name, 'passed_over']}"
                )

    # ------------------------------------------------------------------ saving

    def save(self, *, final: bool = False, settled: bool = False) -> None:
        """Begin to write a checkpoint of now; not while the loss is too high.

        Args:
            final: whatever the loss.
            settled: wait for it.
        """
        if not self.guard.healthy and not final:
            return  # it would push out a good one
        if not self.settle():  # one at a time
            self.write()
        if settled or not self.saving.behind:
            self.settle()

    def write(self) -> None:
        """Hand the state of now over to be written. All processes take part, each with what it holds."""
        mine = {"random": seeding.random_state(), "meter": self.meter.state(), "terms": self.terms.state()}
        values = {
            "scaler": self.scaler.state_dict(),
            "guard": self.guard.state(),
            "ema_updates": self.average.updates if self.average else 0,
            "best": self.best,
            "stale": self.stale,
            "processes": gather(self.process, mine),
            "parts": self.parts,
        }
        meta = {
            "seed": self.seed,
            "metrics": self.metrics if self.metrics_step == self.done else {},
            "save_frozen": self.saving.save_frozen,
            "frozen_sha256": self.frozen,
            "tied": state_dict.tied_names(self.step.model),
            "config": self.config,
        }
        self.writing = checkpoint.write_checkpoint(
            self.folder, self.done, self.tensors(), values, meta, self.process.behind
        )
        self.saved_at = self.throughput.clock()

    def settle(self) -> bool:
        """Wait for the checkpoint that is being written, if any; whether its failure led to one of now."""
        if self.writing is None:
            return False
        try:
            self.take_up()
            return False
        except CannotSave as error:
            self._warn(f"{error}; trying again with the newest and the best checkpoint alone")
            self._agree(lambda: checkpoint.prune_checkpoints(self.folder, replace(self.saving, keep_last=1)))
        self.write()
        try:
            self.take_up()
        except CannotSave as error:
            if self.done == self.steps or self.given_up:
                raise
            newest = self.checkpoint or "its start"
            self._warn(f"{error}; training goes on, what is lost if it stops is all since {newest}")
        return True

    def take_up(self) -> None:
        """Make the checkpoint that is being written the newest one; all processes see the same end of it."""
        writing, self.writing = self.writing, None
        self.checkpoint = writing.result()  # type: ignore[union-attr]
        if self.guard.healthy:  # else it may be a bad one, which must not replace a good one
            self._agree(lambda: checkpoint.prune_checkpoints(self.folder, self.saving))

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint holds and that is large, in place."""
        average = self.average.average if self.average else {}
        return state_dict.run_tensors(
            self.step.model, self.trained, self.optim, average, frozen=self.saving.save_frozen
        )

    # ------------------------------------------------------------------ small things

    def _agree(self, action: Callable[[], Any]) -> Any:
        """Do something on the first process; its result, or its error, is everyone's.

        Without this the others would wait for a process that has failed, until their timeout.
        """
        result, error = None, None
        if self.process.is_first:
            try:
                result = action()
            except (InputError, OSError) as caught:
                error = caught
        result, error = distributed.from_first(self.process, (result, error))
        if error:
            raise error
        return result

    @property
    def given_up(self) -> bool:
        """Whether validations have not become better for too long."""
        return self.saving.patience is not None and self.stale >= self.saving.patience

    @property
    def parts(self) -> int:
        """How many parts a step's batch is cut into."""
        return self.process.world_size * self.accumulate

    def _samples_after(self, parts: int) -> str:
        """Whether the next step has the samples that it would have with so many parts, in words."""

        def follow(parts: int) -> list[SampleRequest]:
            return self.data.sampler.requests(self.done, seed=self.seed, parts=parts, length=self.data.length)

        now = follow(self.parts)
        try:
            before = follow(parts)
        except InputError:  # the sampler's settings changed as well
            return "other samples follow"
        if before == now:
            return "the same samples follow"
        return (
            f"other samples follow, since batches depend on the number of parts (step {self.done + 1} begins "
            f"with sample {now[0].number} of the run, not {before[0].number}); with a batch_multiple that "
            "both divide they would not"
        )

    def _batch(self, done: list[tuple[Tensor, dict[str, Tensor], Notes]]) -> list[dict[str, Any]]:
        """Loss, terms and samples of every part of a step, of all processes; all must call."""
        mine = [
            {"loss": float(loss), "terms": {n: float(t) for n, t in terms.items()}, "samples": notes.origins}
            for loss, terms, notes in done
        ]
        return [part for parts in gather(self.process, mine) for part in parts]

    def _skipped(self, reason: str, loss: float, norm: float, done: list) -> None:
        local = (getattr(p, "to_local", p.detach)().detach() for p in self.trained.values())
        if distributed.sum_over(self.process, [float(not all(p.isfinite().all() for p in local))])[0]:
            # No sample's fault: an earlier update broke them, and skipping would go on for ever.
            raise self._diverged(f"{reason}, as the weights are not finite any more", loss, norm, done)
        step, batch = self.done + 1, self._batch(done)
        self.log.write("skipped", step, reason=reason, loss=loss, gradient_norm=norm, batch=batch)
        self.log.say(
            f"step {step}: no update, {reason}; {self.guard.skipped} in all. {_suspects(batch)}. "
            f"loop.skip_steps=[{step}] leaves the step out"
        )

    def _diverged(self, reason: str, loss: float, norm: float, done: list) -> Diverged:
        step, batch = self.done + 1, self._batch(done)
        numbers = {name: float(value) for name, value in done[-1][1].items()}
        self.log.write(
            "diverged", step, reason=reason, loss=loss, gradient_norm=norm, terms=numbers, batch=batch
        )
        shown = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self.writing is not None:
            with suppress(CannotSave):
                self.take_up()
        kept = f"The last good checkpoint is {self.checkpoint}"
        return Diverged(
            f"diverged at step {step}: {reason}; terms here: {shown}. {_suspects(batch)}. "
            f"{kept if self.checkpoint else 'No checkpoint was saved yet'}. Try a lower learning "
            "rate, a longer warm-up, a smaller clip_norm, or look at this step's data (loop.skip_steps "
            "leaves steps out)"
        )

    def _warn(self, text: str) -> None:
        if self.process.is_first:
            warnings.warn(text, stacklevel=2)


def _suspects(batch: list[dict[str, Any]]) -> str:
    """The samples of the parts whose loss is not finite, or of all parts."""
    broken = [part for part in batch if not math.isfinite(part["loss"])] or batch
    names = [name for part in broken for name in part["samples"]]
    return f"Samples: {'; '.join(names[:4])}" + (
        f"; {len(names) - 4} more in the log" if len(names) > 4 else ""
    )

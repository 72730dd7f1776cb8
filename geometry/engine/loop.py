"""The training loop: one function, `fit`, for every model of this project."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from geometry.engine.activation_checkpoint import checkpoint_activations
from geometry.engine.checkpoint import (
    Saving,
    best_checkpoint,
    list_checkpoints,
    newest_whole,
    prune_checkpoints,
    read_file,
    read_meta,
    write_checkpoint,
)
from geometry.engine.compile import compile_model
from geometry.engine.distributed import (
    Parallel,
    Process,
    SpreadStep,
    from_first,
    gather,
    processes,
    sum_over,
    weighted_means,
)
from geometry.engine.divergence import Diverged, DivergenceGuard
from geometry.engine.ema import WeightAverage
from geometry.engine.interrupt import StopSignal
from geometry.engine.loader import DataStream
from geometry.engine.log import Meter, RunLog, combined_means, progress_line
from geometry.engine.optimizer import (
    ParameterGroup,
    build_optimizer,
    check_groups,
    clip_gradients,
    set_learning_rate,
)
from geometry.engine.precision import Precision
from geometry.engine.schedule import Schedule
from geometry.engine.seeding import (
    make_generator,
    random_state,
    seed_everything,
    set_random_state,
    unchanged_random_state,
)
from geometry.engine.state_dict import (
    ModelTensors,
    collect_optimizer,
    freeze_all_but,
    frozen_hash,
    restore_optimizer,
)
from geometry.engine.step import TrainingStep, ValidationRun, begin_step, blocks_of, items_in
from geometry.engine.throughput import Throughput, readable_time
from geometry.errors import InputError
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.stored_config import changes, plain


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended.

    Attributes:
        step: updates done.
        finished: False when a signal stopped it early.
        metrics: of the last validation.
        checkpoint: the newest one, None if nothing was trained.
        best: the best one by ``saving.best_metric``.
    """

    step: int
    finished: bool
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: Path | None = None
    best: Path | None = None


def fit(
    step: TrainingStep,
    data: DataStream,
    optimizer: Callable[[list[dict]], Optimizer],
    *,
    steps: int,
    out: str | Path,
    seed: int = 0,
    accumulate: int = 1,
    clip_norm: float | None = 1.0,
    ema_decay: float | None = None,
    schedule: Schedule | None = None,
    precision: Precision | None = None,
    parallel: Parallel | None = None,
    saving: Saving | None = None,
    guard: DivergenceGuard | None = None,
    activation_checkpointing: bool = False,
    compile_scope: Literal["blocks", "model"] | None = None,
    compile_options: dict[str, Any] | None = None,
    validate_every: int | None = None,
    validate_first: bool = False,
    log_every: int = 10,
    tensorboard: bool = True,
    device: str | None = None,
    resume: bool = True,
    config: dict[str, Any] | None = None,
) -> FitResult:
    """Train ``step`` on ``data``, from the newest checkpoint in ``out`` if there is one.

    Runs on one process or, under torchrun, on many; the global batch is what the data's sampler says,
    cut into ``world_size * accumulate`` equal parts.

    Args:
        step: model, losses, validation; see `TrainingStep`.
        optimizer: makes the optimizer from parameter groups, such as a `functools.partial` of AdamW;
            not an optimizer itself, because sharding replaces the parameters first.
        steps: updates of the whole run, those before a resume included.
        out: folder of checkpoints, log and images; on several machines a folder they share.
        seed: of data order, samples, the generators given to the step, and the global generators. The
            model's own initialisation happens before and is the caller's.
        accumulate: micro-batches that each process adds up before an update.
        clip_norm: bound on the norm of the whole gradient; None does not clip.
        ema_decay: share of the old weights kept by the average at each step; None keeps no average.
            Validation uses the average where there is one.
        activation_checkpointing: recompute the step's ``blocks()`` in the backward pass.
        compile_scope: what torch.compile is applied to, with ``compile_options``.
        validate_every: steps between validations, with one more at the end; None never validates.
        validate_first: also before the first step, which shows where a warm start begins.
        resume: False demands an ``out`` without checkpoints.
        config: plain values that describe the run, stored with each checkpoint; changes against them
            are reported when a run resumes.

    Returns:
        How the run ended. The first process's ``step.model`` then has the weights last trained; what was
        sharded is whole again, on the CPU, to be read and written but not run.

    Raises:
        InputError: the settings, data and model do not fit together.
        Diverged: the loss or the gradient is not finite, or the loss diverged. Checkpoints are left as
            they are.
    """
    for name, count in {"steps": steps, "accumulate": accumulate, "log_every": log_every}.items():
        if not isinstance(count, int):
            raise InputError(f"{name} must be a whole number, got {count!r}")
    parallel = parallel or Parallel()
    with processes(parallel, device) as process, StopSignal() as stop:
        run = _Run(
            step=step,
            data=data,
            process=process,
            stop=stop,
            steps=steps,
            out=Path(out),
            seed=seed,
            accumulate=accumulate,
            clip_norm=clip_norm,
            schedule=schedule or Schedule(),
            precision=precision or Precision(),
            saving=saving or Saving(),
            guard=guard or DivergenceGuard(),
            validate_every=validate_every,
            log_every=log_every,
            config=plain(config or {}),
        )
        run.prepare(
            optimizer,
            parallel,
            ema_decay=ema_decay,
            activation_checkpointing=activation_checkpointing,
            compile_scope=compile_scope,
            compile_options=compile_options or {},
        )
        run.open(resume=resume, tensorboard=tensorboard)
        try:
            result = run.train(validate_first=validate_first)
            run.spread.make_whole(process)
            return result
        finally:
            run.log.close()
            run.spread.release()


@dataclass(kw_only=True)
class _Run:
    """One call of `fit`: its settings, and what changes while it runs."""

    step: TrainingStep
    data: DataStream
    process: Process
    stop: StopSignal
    steps: int
    out: Path
    seed: int
    accumulate: int
    clip_norm: float | None
    schedule: Schedule
    precision: Precision
    saving: Saving
    guard: DivergenceGuard
    validate_every: int | None
    log_every: int
    config: dict[str, Any]

    done: int = 0  # updates made
    best: float | None = None  # value of saving.best_metric
    metrics: dict[str, float] = field(default_factory=dict)  # of the last validation
    metrics_step: int = -1  # and when that was
    checkpoint: Path | None = None

    # ------------------------------------------------------------------ setting up

    def prepare(
        self,
        optimizer: Callable[[list[dict]], Optimizer],
        parallel: Parallel,
        *,
        ema_decay: float | None,
        activation_checkpointing: bool,
        compile_scope: Literal["blocks", "model"] | None,
        compile_options: dict[str, Any],
    ) -> None:
        """Freeze, move, wrap; then build the optimizer over what the wrapping left."""
        model, device = self.step.model, self.process.device
        self.precision.apply()
        getattr(self.step, "to", model.to)(device)
        groups = self.step.trainable_parameters()
        check_groups(model, groups)
        freeze_all_but(model, {n: p for group in groups for n, p in group.parameters.items()})
        self.frozen = "" if self.saving.save_frozen else frozen_hash(model)
        model.train()

        blocks = blocks_of(self.step)
        if activation_checkpointing:
            checkpoint_activations(blocks)
        if compile_scope:
            compile_model(model, blocks, compile_scope, compile_options)
        self.spread = SpreadStep(self.step, self.process, parallel)
        if self.spread.sharded and self.precision.compute == "fp16":
            raise InputError("fp16 with FSDP is not supported: loss scaling sees one shard only. Use bf16")

        self.tensors = ModelTensors(model)
        trained = self.tensors.trained
        groups = [
            ParameterGroup(
                name=g.name, parameters={n: trained[n] for n in g.parameters}, lr_factor=g.lr_factor
            )
            for g in groups
        ]
        self.optimizer = build_optimizer(optimizer, groups)
        self.scaler = self.precision.scaler(device)
        self.average = WeightAverage(trained, ema_decay) if ema_decay else None
        self.meter, self.terms, self.throughput = Meter(), Meter(), Throughput()

    def open(self, *, resume: bool, tensorboard: bool) -> None:
        """Resume from the newest checkpoint or start anew; open the log."""
        folder = self.out / "checkpoints"
        if not resume and list_checkpoints(folder):
            raise InputError(
                f"{folder} holds checkpoints already: choose another folder, or let the run resume"
            )
        found = self._agree(lambda: newest_whole(folder))
        seed_everything(self.seed, "process", self.process.rank)
        if found:
            if not all(gather(self.process, found.is_dir())):
                raise InputError(
                    f"{found} is not visible on every machine: {self.out} must be a shared folder"
                )
            self.restore(found)
        self.log = RunLog(self.out, active=self.process.is_first, step=self.done, tensorboard=tensorboard)
        if found:
            self.log.say(f"resuming from {found} at step {self.done}")

    def restore(self, checkpoint: Path) -> None:
        """Resume the run at a checkpoint, such that it continues as if it had never stopped."""
        meta = read_meta(checkpoint)
        if meta["seed"] != self.seed:
            raise InputError(
                f"{checkpoint} was trained with seed {meta['seed']}, this run has seed {self.seed}"
            )
        if meta["save_frozen"] != self.saving.save_frozen:
            raise InputError(
                f"{checkpoint} was written with saving.save_frozen={meta['save_frozen']}: keep it"
            )
        if meta["frozen_sha256"] != self.frozen:
            raise InputError(
                f"{checkpoint}: the frozen weights are not those this run was started with (or others are "
                "frozen). Load the same ones, or start in a new folder"
            )
        state = read_file(checkpoint, "training")
        self.tensors.restore(read_file(checkpoint, "model"), frozen=self.saving.save_frozen)
        restore_optimizer(self.optimizer, self.tensors.trained, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.guard.load(state["guard"])
        if self.average:
            if "ema.pt" not in meta["files"]:
                raise InputError(
                    f"{checkpoint} has no average of the weights: set ema_decay=null to resume it"
                )
            self.average.load(read_file(checkpoint, "ema"), state["ema_updates"])
        self.done, self.best, self.metrics = meta["step"], state["best"], meta["metrics"]
        self.checkpoint = checkpoint
        if len(state["processes"]) == self.process.world_size:
            mine = state["processes"][self.process.rank]
            set_random_state(mine["random"])
            self.meter.load(mine["meter"])
            self.terms.load(mine["terms"])
        else:
            seed_everything(self.seed, "process", self.process.rank, self.done)
            self._warn(
                f"resuming on {self.process.world_size} processes what {len(state['processes'])} trained: "
                "the same samples follow, but not the same global random numbers (dropout)"
            )
        for change in changes(meta["config"], self.config):
            self._warn(f"resuming with a changed config: {change}")

    # ------------------------------------------------------------------ training

    def train(self, *, validate_first: bool) -> FitResult:
        if validate_first and self.done == 0 and self.validate():
            self.save(final=False)
        batches = self.data.steps(
            self.done,
            self.steps,
            seed=self.seed,
            rank=self.process.rank,
            world_size=self.process.world_size,
            accumulate=self.accumulate,
            device=self.process.device,
        )
        self.throughput.pause()
        for parts in batches:
            self.throughput.data_arrived()
            interrupted = self.update(parts)
            last = self.done == self.steps
            if self.done % self.log_every == 0 or last:
                self.report()
            improved = False
            if self.validate_every and (self.done % self.validate_every == 0 or last):
                improved = self.validate()
            if improved or interrupted or last or self.done % self.saving.every == 0:
                self.save(final=interrupted or last)
            if interrupted and not last:
                self.log.say(
                    f"interrupted: saved {self.checkpoint} at step {self.done} of {self.steps}. "
                    f"Run the same command with the same out folder ({self.out}) to resume from there."
                )
                break
            self.throughput.pause()
        return FitResult(
            step=self.done,
            finished=self.done >= self.steps,
            metrics=self.metrics,
            checkpoint=self.checkpoint,
            best=best_checkpoint(self.out / "checkpoints", self.saving) if self.saving.best_metric else None,
        )

    def update(self, parts: list[tuple[int, Any]]) -> bool:
        """One optimizer step; returns whether any process was asked to stop."""
        process, index = self.process, self.done
        factor = self.schedule.factor(index, self.steps)
        set_learning_rate(self.optimizer, factor)
        begin_step(self.step, index, self.steps)
        total = torch.zeros((), device=process.device)
        items: dict[str, float] = {}
        for i, (samples, batch) in enumerate(parts):
            part = process.rank * self.accumulate + i
            generator = make_generator(process.device, self.seed, "step", index, part)
            with self.spread.exchange(wanted=i == len(parts) - 1):
                with self.precision.autocast(process.device):
                    loss, terms = self.spread.loss(batch, generator)
                self.scaler.scale(loss / self.accumulate).backward()
            total += loss.detach() / self.accumulate
            self.terms.add(terms)
            for name, count in items_in(self.step, batch, samples).items():
                items[name] = items.get(name, 0) + count

        # Reading the numbers waits for the device. Not to wait would mean to update with a gradient
        # before knowing that it is finite, and one bad update ends a run.
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.tensors.trained.values(), self.clip_norm)
        loss_sum, stops = sum_over(process, [total.item(), float(self.stop.requested)])
        mean_loss = loss_sum / process.world_size
        reason = self.guard.check(mean_loss, norm, scaled=self.scaler.is_enabled())
        if reason:
            self._diverged(reason, mean_loss, norm, terms)
        self.scaler.step(self.optimizer)  # under fp16 it skips the step if the gradient overflowed
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average and math.isfinite(norm):
            self.average.update()
        self.done += 1
        self.meter.add({"loss": mean_loss, "gradient_norm": norm})
        self.throughput.step(items)
        return stops > 0

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
        self.step.model.eval()
        with unchanged_random_state(), torch.no_grad(), self.precision.autocast(process.device):
            seed_everything(self.seed, "validation", process.rank)
            if self.average:
                with self.average.applied():
                    result = self.spread.validate(run)
            else:
                result = self.spread.validate(run)
        self.step.model.train()

        numbers = {name: float(value) for name, value in result.metrics.items()}
        self.metrics = weighted_means(gather(process, (numbers, result.weight)))
        self.metrics_step = self.done
        # Not during a row of bad steps, whose checkpoint would not be written.
        improved = self.guard.healthy and self.saving.better(self.metrics, self.best)
        if improved:
            self.best = self.metrics[self.saving.best_metric]
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
        peak = peak_bytes(process.device)
        waiting = self.throughput.data_share()
        local = (self.terms.state(), self.throughput.rates(), peak, waiting)
        all_terms, all_rates, peaks, waits = zip(*gather(process, local))
        own = combined_means([self.meter.state()])  # the same on all processes
        terms = combined_means(list(all_terms))
        rates = {name: sum(r.get(name, 0.0) for r in all_rates) for name in all_rates[0]}
        left = self.throughput.seconds_left(self.steps - self.done)
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        self.log.write(
            "train",
            self.done,
            loss=own["loss"],
            terms=terms,
            gradient_norm=own["gradient_norm"],
            lr={group["name"]: group["lr"] for group in self.optimizer.param_groups},
            per_second=rates,
            data_share=max(waits),
            memory_bytes=max(peaks),
            seconds_left=left,
        )
        self.log.progress(
            progress_line(
                step=self.done,
                steps=self.steps,
                loss=own["loss"],
                terms=terms,
                lr=rate,
                rates=rates,
                data_share=max(waits),
                memory_bytes=max(peaks),
                seconds_left=left,
            )
        )
        self.meter, self.terms = Meter(), Meter()
        reset_peak(process.device)

    # ------------------------------------------------------------------ saving

    def save(self, *, final: bool) -> None:
        """Write a checkpoint. All processes take part in gathering; the first one writes."""
        if not self.guard.healthy and not final:
            return  # the loss is too high right now: a checkpoint of that would push out a good one
        keep = self.process.is_first
        files: dict[str, Any] = {"model": self.tensors.collect(keep=keep, frozen=self.saving.save_frozen)}
        if self.average:
            files["ema"] = self.tensors.collect_average(self.average.average, keep=keep)
        mine = {"random": random_state(), "meter": self.meter.state(), "terms": self.terms.state()}
        files["training"] = {
            "optimizer": collect_optimizer(self.optimizer, self.tensors.trained, keep=keep),
            "scaler": self.scaler.state_dict(),
            "guard": self.guard.state(),
            "ema_updates": self.average.updates if self.average else 0,
            "best": self.best,
            "processes": gather(self.process, mine),
        }
        meta = {
            "seed": self.seed,
            "metrics": self.metrics if self.metrics_step == self.done else {},
            "save_frozen": self.saving.save_frozen,
            "frozen_sha256": self.frozen,
            "config": self.config,
        }
        folder = self.out / "checkpoints"

        def write() -> Path:
            path = write_checkpoint(folder, self.done, files, meta)
            if self.guard.healthy:  # else it may be a bad one, which must not replace a good one
                prune_checkpoints(folder, self.saving)
            return path

        self.checkpoint = self._agree(write)

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
        result, error = from_first(self.process, (result, error))
        if error:
            raise error
        return result

    def _diverged(self, reason: str, loss: float, norm: float, terms: dict[str, Any]) -> None:
        shown = {name: float(value) for name, value in terms.items()}
        step = self.done + 1
        self.log.write("diverged", step, reason=reason, loss=loss, gradient_norm=norm, terms=shown)
        kept = (
            f"The last good checkpoint is {self.checkpoint}"
            if self.checkpoint
            else "No checkpoint was saved yet"
        )
        terms_text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        raise Diverged(
            f"diverged at step {step}: {reason}; terms here: {terms_text}. {kept}. Try a lower learning "
            "rate, a longer warm-up, a smaller clip_norm, or look at this step's data"
        )

    def _warn(self, text: str) -> None:
        if self.process.is_first:
            warnings.warn(text, stacklevel=2)

"""What `fit` promises, on the toy task."""

import ast
import json
import os
import resource
import sys
import threading
import types
from functools import partial
from pathlib import Path

import pytest
import torch
import toy

from geometry import engine
from geometry.engine import (
    DataStream,
    Diverged,
    DivergenceGuard,
    FixedBatchSampler,
    Precision,
    Saving,
    Schedule,
    Validation,
    load_weights,
    parameter_groups,
)
from geometry.engine.checkpoint import find_damage, list_checkpoints, saved_tensors
from geometry.engine.log import RunLog
from geometry.engine.notes import note
from geometry.errors import InputError


def entries(out, kind):
    return [e for e in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if e["kind"] == kind]


def test_training_learns(tmp_path):
    result = toy.train(tmp_path, steps=300, batch_size=32, log_every=300, every=300, validate_every=100)
    scores = [e["metrics"]["l1"] for e in entries(tmp_path, "validation")]
    assert scores[-1] < 0.3  # predicting zero gives about 0.7
    assert result.metrics == {"l1": scores[-1]}


def test_frozen_weights_keep_every_bit_and_cost_nothing(tmp_path):
    step = toy.ToyStep()
    before = {n: p.detach().clone() for n, p in step.model.body.named_parameters()}
    made = []

    def factory(groups):
        made.append(torch.optim.AdamW(groups, lr=1e-2))
        return made[0]

    result = toy.train(tmp_path, step=step, optimizer=factory)
    for name, parameter in step.model.body.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
        assert not parameter.requires_grad
        assert parameter not in made[0].state
    assert not any(name.startswith("body") for name in load_weights(result.checkpoint))
    assert not any(".body" in name for name in saved_tensors(result.checkpoint))


def test_frozen_weights_are_kept_in_checkpoints_if_asked(tmp_path):
    result = toy.train(tmp_path, steps=5, saving=Saving(save_frozen=True))
    toy.ToyStep().model.load_state_dict(load_weights(result.checkpoint))  # complete: strict


def test_the_best_checkpoint_is_kept_and_holds_the_average(tmp_path):
    scores = iter([3.0, 1.0, 2.0, 2.5])

    class Scored(toy.ToyStep):
        def validate(self, run):
            seen[run.step] = self.model.head.weight.detach().clone()
            return Validation(metrics={"l1": next(scores)})

    seen = {}
    step = Scored()
    saving = Saving(every=100, keep_last=1, best_metric="l1", best_is="min")
    result = toy.train(tmp_path, step=step, steps=40, saving=saving)
    assert result.best.name == "step_00000020"
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000020", "step_00000040"]
    assert torch.equal(load_weights(result.best)["head.weight"], seen[20])
    trained = load_weights(result.checkpoint, averaged=False)["head.weight"]
    assert torch.equal(trained, step.model.head.weight)  # the average was taken out again
    assert not torch.equal(trained, seen[40])


def test_validation_does_not_move_the_training(tmp_path):
    toy.train(tmp_path / "often", dropout=0.2, validate_every=1)
    toy.train(tmp_path / "never", dropout=0.2, validate_every=None)
    assert toy.losses(tmp_path / "often") == toy.losses(tmp_path / "never")


def test_the_first_validation_sees_the_untouched_model(tmp_path):
    weights = {}

    class Looking(toy.ToyStep):
        def validate(self, run):
            weights[run.step] = self.model.head.weight.detach().clone()
            assert not self.model.training
            return super().validate(run)

    untouched = toy.ToyStep().model.head.weight
    toy.train(tmp_path, step=Looking(), steps=1, validate_first=True, ema_decay=None)
    assert list(weights) == [0, 1]
    assert torch.equal(weights[0], untouched)
    assert not torch.equal(weights[1], untouched)


def test_accumulated_micro_batches_make_the_same_gradient(tmp_path):
    toy.train(tmp_path / "1", branch=False, accumulate=1)
    toy.train(tmp_path / "4", branch=False, accumulate=4)
    for name in ("loss", "gradient_norm"):
        a, b = ([e[name] for e in entries(tmp_path / n, "train")] for n in ("1", "4"))
        assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize(
    "option",
    [
        {"activation_checkpointing": True},
        {"compile_scope": "blocks", "compile_options": {"backend": "eager"}},
        {"compile_scope": "model", "compile_options": {"backend": "eager"}},
    ],
    ids=["activation_checkpointing", "compile_blocks", "compile_model"],
)
def test_ways_of_computing_do_not_change_the_numbers(tmp_path, option):
    toy.train(tmp_path / "plain", steps=4, dropout=0.2)
    toy.train(tmp_path / "other", steps=4, dropout=0.2, **option)
    plain, other = toy.losses(tmp_path / "plain"), toy.losses(tmp_path / "other")
    assert list(plain.values()) == pytest.approx(list(other.values()), rel=1e-5)
    result = toy.train(tmp_path / "plain", steps=4)  # and names in checkpoints are the same
    assert load_weights(result.checkpoint).keys() == toy_names(tmp_path / "other")


def toy_names(out):
    return load_weights(list_checkpoints(out / "checkpoints")[-1]).keys()


@pytest.mark.parametrize("compute", ["bf16", "fp16"])
def test_narrow_formats_train_and_keep_weights_wide(tmp_path, compute):
    seen = set()

    class Watching(toy.ToyStep):
        def training_loss(self, batch, generator):
            seen.add(self.model.body(batch[0]).dtype)
            return super().training_loss(batch, generator)

    result = toy.train(tmp_path, step=Watching(), precision=Precision(compute=compute))
    assert seen == {torch.bfloat16 if compute == "bf16" else torch.float16}
    assert {t.dtype for t in load_weights(result.checkpoint).values()} == {torch.float32}
    toy.train(tmp_path / "wide")
    narrow, wide = toy.losses(tmp_path), toy.losses(tmp_path / "wide")
    # fp16 begins with a loss scale that is too large, and skips updates until it has come down.
    skipped = sum(e["gradient_norm"] == "inf" for e in entries(tmp_path, "train"))
    assert skipped == 0 if compute == "bf16" else 0 < skipped < 5
    assert narrow[1] == pytest.approx(wide[1], rel=0.01)
    assert narrow[20] == pytest.approx(wide[20], rel=0.25)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("where", "word"), [("loss", "loss is not finite"), ("gradient", "gradient is not finite")]
)
def test_a_nan_is_kept_from_the_weights_and_its_samples_are_named(tmp_path, capsys, where, word):
    """A run that skips the update equals one that leaves the step out; too many in a row stop it."""

    class Broken(toy.ToyStep):
        last = 8

        def training_loss(self, batch, generator):
            loss, terms = super().training_loss(batch, generator)
            if 8 <= self.now <= self.last:
                weight = self.model.head.weight.sum()
                # sqrt at 0 is finite, its gradient is not
                loss = loss * float("nan") if where == "loss" else loss + (0 * weight).sqrt()
            return loss, terms

    toy.train(tmp_path / "nan", step=Broken())
    (event,) = entries(tmp_path / "nan", "skipped")
    assert event["step"] == 8
    assert word in event["reason"]
    assert event["batch"][0]["samples"][0] == "entry 56"  # of 8 in a step
    assert "step 8: no update, the" in (said := capsys.readouterr().out)
    assert "loop.skip_steps=[8]" in said
    assert entries(tmp_path / "nan", "train")[-1]["skipped"] == 1
    toy.train(tmp_path / "left out", skip_steps=[8])
    left_out, nan = toy.losses(tmp_path / "left out"), toy.losses(tmp_path / "nan")
    assert {left_out.pop(8), nan.pop(8)} == {"nan"}
    assert left_out == nan

    step = Broken()
    step.last = 99
    guard = DivergenceGuard(skips_in_row=3)
    expected = (
        rf"diverged at step 10: the {word}.* for 3 steps on end; terms here: l1 .*entry 72.*step_00000005"
    )
    with pytest.raises(Diverged, match=expected):
        toy.train(tmp_path / "stopped", step=step, guard=guard)
    assert all(p.isfinite().all() for p in step.model.parameters())
    assert list_checkpoints(tmp_path / "stopped/checkpoints")[-1].name == "step_00000005"
    (event,) = entries(tmp_path / "stopped", "diverged")
    assert event["step"] == 10


def test_updates_skipped_are_counted_over_resumes_and_stop_the_run(tmp_path):
    options = {"nan_steps": [2, 4, 6], "guard": DivergenceGuard(skips_in_all=3), "every": 1}
    toy.train(tmp_path, steps=5, **options)
    with pytest.raises(Diverged, match=r"step 6: .* for 3 steps in all"):
        toy.train(tmp_path, steps=10, **{**options, "guard": DivergenceGuard(skips_in_all=3)})


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_and_nothing_else(tmp_path):
    """By a limit on the size of files, which fails as a full disk does: in the middle of a write."""

    class Full(toy.ToyStep):
        def begin_step(self, index, steps):
            super().begin_step(index, steps)
            if index in (7, 13):
                soft = 2000 if index == 7 else resource.RLIM_INFINITY
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        saving = Saving(every=3, behind=False)
        with pytest.warns(UserWarning, match="trying again") as caught:
            result = toy.train(tmp_path, step=Full(), saving=saving, validate_every=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = [str(w.message) for w in caught]
    assert [s.split(":")[0] for s in said if "trying again" in s] == [
        "step 9 could not be saved",
        "step 12 could not be saved",
    ]
    assert any("training goes on, what is lost if it stops is all since" in s for s in said)
    assert sum("the log cannot be written" in s for s in said) == 1
    assert result.finished
    kept = list_checkpoints(tmp_path / "checkpoints")
    assert [p.name for p in kept] == ["step_00000015", "step_00000018", "step_00000020"]
    assert not [p for p in kept if find_damage(p)]
    toy.train(tmp_path / "free", every=3, validate_every=None)
    free, full = toy.losses(tmp_path / "free"), toy.losses(tmp_path)
    assert full.items() <= free.items()
    assert full[20] == free[20]


def test_a_full_disk_costs_entries_of_tensorboard_and_prints_no_traceback(tmp_path, capfd):
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = RunLog(tmp_path, active=True, step=0, tensorboard=True)
    numbers = {f"n{i}": 1.0 for i in range(50)}
    try:
        log.write("train", 1, **numbers)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        with pytest.warns(UserWarning, match="the log cannot be written .*; training goes on"):
            log._to_board(lambda board: board.flush())
        for step in range(2, 6):
            log.write("train", step, **numbers)
            log._to_board(lambda board: board.flush())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write("train", 6, **numbers)
    log.close()
    assert "Traceback" not in capfd.readouterr().err
    events = tensorboard.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    # Files of one second are read by name, in which 10 comes before 9.
    assert 6 in [e.step for e in events.Scalars("train/n0")]


def test_room_is_made_of_older_checkpoints_and_the_end_must_be_saved(tmp_path, monkeypatch):
    real, tries = os.fsync, []

    def fsync(file):
        there = [p.name[-1] for p in list_checkpoints(tmp_path / "checkpoints")]
        for part in tmp_path.glob("checkpoints/*.partial"):
            step = int(part.stem[-1])
            if tries[-1:] != [(step, there)]:
                tries.append((step, there))
            if step == 4 or (step == 3 and len(there) > 1):
                raise OSError(28, "No space left on device")
        return real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.warns(UserWarning, match="trying again"), pytest.raises(InputError, match="step 4 could not"):
        toy.train(tmp_path, steps=4, saving=Saving(every=1, behind=False))
    # Step 3 made room of step 1.
    assert tries[2:] == [(3, ["1", "2"]), (3, ["2"]), (4, ["2", "3"]), (4, ["3"])]
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000003"]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    real, free, seen = os.fsync, threading.Event(), []
    monkeypatch.setattr(os, "fsync", lambda file: free.wait(60) and real(file))

    class Slow(toy.ToyStep):
        def begin_step(self, index, steps):
            super().begin_step(index, steps)
            seen.append(list_checkpoints(tmp_path / "checkpoints"))
            if index == 8:
                free.set()

    options = {"schedule": Schedule(kind="constant"), "validate_every": None}
    result = toy.train(tmp_path, step=Slow(), steps=9, **options)
    assert not any(seen)  # that of step 5 was on its way, while steps 6 to 8 were trained
    assert [p.name[-1] for p in list_checkpoints(tmp_path / "checkpoints")] == list("59")
    alone = toy.train(tmp_path / "alone", steps=5, **options)
    kept, expected = (
        load_weights(p) for p in (result.checkpoint.with_name("step_00000005"), alone.checkpoint)
    )
    assert all(torch.equal(kept[name], expected[name]) for name in expected)  # of step 5, not later


def test_checkpoints_are_also_written_by_the_clock(tmp_path):
    toy.train(tmp_path, steps=4, saving=Saving(every=1000, every_minutes=1e-9, keep_last=9))
    assert [p.name[-1] for p in list_checkpoints(tmp_path / "checkpoints")] == list("1234")
    with pytest.raises(InputError, match="every_minutes must be above 0"):
        Saving(every_minutes=0)


def test_damage_is_counted_per_set_and_too_much_of_it_stops(tmp_path, capsys):
    class Half:
        def __getitem__(self, request):
            for name in ("good", "bad"):
                note(name, "samples")
            note("good", "photos_left_out", "good/1.jpg: cut short")
            note("bad", "passed_over", "bad/2.jpg: empty")
            return toy.Points()[request]

    data = DataStream(Half(), FixedBatchSampler(batch_size=8), workers=1)
    with pytest.raises(
        InputError, match=r"bad: expected at most 10%.* got 50% \(24\), the first: bad/2.jpg: empty"
    ):
        toy.train(tmp_path, data=data)
    said = capsys.readouterr().out
    assert said.count("good: photos left out: good/1.jpg: cut short") == 1
    assert "bad: 16 passed over" in said
    assert entries(tmp_path, "train")[-1]["damage"] == {
        "good": {"samples": 24, "photos_left_out": 24},
        "bad": {"samples": 24, "passed_over": 24},
    }
    toy.train(tmp_path / "allowed", data=data, most_broken=0.6)


def test_an_exploding_loss_stops_and_saves_nothing_of_it(tmp_path):
    guard = DivergenceGuard(factor=20, patience=10, window=50)

    class Exploding(toy.ToyStep):
        count = 0

        def training_loss(self, batch, generator):
            loss, terms = super().training_loss(batch, generator)
            self.count += 1
            return loss * (1000 if self.count > 30 else 1), terms

    step = Exploding()
    with pytest.raises(Diverged, match=r"at step 40: .*for 10 steps on end.*step_00000030"):
        toy.train(tmp_path, step=step, steps=100, guard=guard)
    assert list_checkpoints(tmp_path / "checkpoints")[-1].name == "step_00000030"


def test_the_log_says_what_a_person_wants_to_know(tmp_path, capsys):
    toy.train(tmp_path, steps=20, log_every=5, schedule=Schedule(kind="constant"))
    said = capsys.readouterr().out
    line = next(text for text in said.splitlines() if text.startswith("step 10/20"))
    for word in ("loss", "l1", "l2", "lr 0.01", "samples/s", "GB", "left"):
        assert word in line
    assert "step 20 validation: l1" in said
    logged = entries(tmp_path, "train")
    assert [e["step"] for e in logged] == [5, 10, 15, 20]
    assert logged[0]["lr"] == {"blocks": 0.005, "all": 0.01}
    assert logged[0]["loss"] == pytest.approx(sum(logged[0]["terms"].values()))
    assert (tmp_path / "images/step_00000010/error.png").stat().st_size > 0


def test_tensorboard_is_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy.train(tmp_path, steps=4, tensorboard=True, validate_every=4)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train/loss", "train/terms/l1", "train/lr/all", "validation/metrics/l1"} <= set(
        events.Tags()["scalars"]
    )
    written = [e.value for e in events.Scalars("train/loss")]
    assert written == pytest.approx(list(toy.losses(tmp_path).values()))
    assert events.Tags()["images"] == ["error"]


def test_items_are_counted_by_the_step(tmp_path):
    class Counting(toy.ToyStep):
        def count_items(self, batch):
            return {"images": 3 * len(batch[0])}

    toy.train(tmp_path, step=Counting(), steps=2, accumulate=2)
    assert [list(e["per_second"]) for e in entries(tmp_path, "train")] == [["images"], ["images"]]


def test_a_step_that_makes_no_sense_is_refused(tmp_path):
    class Nothing(toy.ToyStep):
        def trainable_parameters(self):
            return []

    class Twice(toy.ToyStep):
        def trainable_parameters(self):
            return parameter_groups(self.model) + parameter_groups(self.model, {"head": 0.1})

    class Foreign(toy.ToyStep):
        def trainable_parameters(self):
            return parameter_groups(toy.Net(0.0))

    class Blockless(toy.ToyStep):
        blocks = None

        def __getattribute__(self, name):
            if name == "blocks":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(InputError, match="nothing to train"):
        toy.train(tmp_path, step=Nothing())
    with pytest.raises(InputError, match=r"head\.weight is in another group too"):
        toy.train(tmp_path, step=Twice())
    with pytest.raises(InputError, match=r"no parameter 'body\.weight'"):
        toy.train(tmp_path, step=Foreign())
    with pytest.raises(InputError, match="has no method blocks"):
        toy.train(tmp_path, step=Blockless(), activation_checkpointing=True)


def test_a_config_that_cannot_be_stored_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="plain values only"):
        toy.train(tmp_path, config={"model": torch.nn.ReLU()})


def test_a_number_of_steps_that_is_none_is_refused(tmp_path, unchecked):
    with pytest.raises(InputError, match="steps must be a whole number, got 'none'"):
        toy.train(tmp_path, steps="none")


def test_the_engine_knows_no_geometry():
    folder = Path(engine.__file__).parent
    imported = {
        node.module
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    foreign = {m for m in imported if m.startswith("geometry") and not m.startswith("geometry.engine")}
    assert foreign == {"geometry.atomic", "geometry.errors", "geometry.peak_memory", "geometry.stored_config"}


def test_an_error_in_the_data_names_itself(tmp_path):
    class Failing:
        def __getitem__(self, request):
            raise InputError(f"photos/{request.number}.jpg: cannot be read")

    data = DataStream(Failing(), FixedBatchSampler(batch_size=2), workers=1)
    with pytest.raises(InputError, match=r"photos/0.jpg: cannot be read"):
        toy.train(tmp_path, data=data)


@pytest.mark.extended
def test_any_optimizer_works_and_resumes(tmp_path):
    sgd = partial(torch.optim.SGD, lr=1e-2, momentum=0.9)
    constant = Schedule(kind="constant")
    toy.train(tmp_path / "a", steps=12, optimizer=sgd, schedule=constant)
    toy.train(tmp_path / "b", steps=6, optimizer=sgd, schedule=constant)
    toy.train(tmp_path / "b", steps=12, optimizer=sgd, schedule=constant)
    assert toy.losses(tmp_path / "a") == toy.losses(tmp_path / "b")


def test_validations_that_do_not_get_better_end_the_run_for_good(tmp_path):
    scores = iter([1.0, 0.5, 0.6, 0.7, 0.1])

    class Scored(toy.ToyStep):
        def validate(self, run):
            return Validation(metrics={"l1": next(scores)})

    saving = Saving(every=100, best_metric="l1", best_is="min", patience=2)
    result = toy.train(tmp_path, step=Scored(), steps=90, saving=saving)
    assert (result.step, result.finished, result.best.name) == (40, True, "step_00000020")
    again = toy.train(tmp_path, step=Scored(), steps=90, saving=saving)
    assert (again.step, again.finished, again.best) == (40, True, result.best)
    assert next(scores) == 0.1  # no further validation
    scores = iter([float("nan")])
    with pytest.raises(InputError, match="no number for l1"):
        toy.train(tmp_path / "nan", step=Scored(), saving=saving)


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_numbers_also_go_to_a_tracker_and_a_resumed_run_goes_on_there(tmp_path, monkeypatch, kind):
    told = []

    class StandIn(types.ModuleType):
        def init(self, **options):
            told.append(options["id"])
            return self

        def log(self, numbers, step):
            told.append((step, numbers))

        def start_run(self, run_id, run_name):
            told.append(run_id or "new")
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="new"))

        def log_dict(self, config, name):
            assert config == {"a": 1}

        def log_metrics(self, numbers, step):
            told.append((step, numbers))

        def finish(self):
            told.append("end")

        end_run = finish

    monkeypatch.setitem(sys.modules, kind, StandIn(kind))
    for steps in (1, 2):
        toy.train(tmp_path, steps=steps, track=kind, validate_every=None, config={"a": 1})
    first, (one, numbers), end, again, (two, _), last = told
    assert (first, one, end, two, last) == (again, 1, "end", 2, "end")
    assert numbers["train/loss"] == pytest.approx(toy.losses(tmp_path)[1])
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(InputError, match=f"{kind} is not installed; pip install"):
        toy.train(tmp_path, track=kind)

"""Two gloo processes against one: same losses, same checkpoints, for DDP and for FSDP."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import toy
from programs import ROOT, run_ranks

from geometry.engine import Schedule, distributed, load_weights
from geometry.engine.distributed import weighted_means

pytestmark = pytest.mark.extended  # whole runs, seconds each

# Under FSDP a branch that is not used has gradient zero, not none, which AdamW tells apart: no branch here.
SAME = {"branch": False, "noise": 0.1}
FSDP = {"parallel": {"strategy": "fsdp"}, **SAME}
# Each entry is a run on both processes. Runs share one start of torch, which takes most of the time.
RUNS = {
    # Whole batch of 8 against two halves; nothing random in the step.
    "ddp": {"branch": False},
    # Random numbers and a branch that only some parts of the batch take: against accumulation in one process.
    "ddp_noise": {"noise": 0.1},
    "ddp_accumulate": {"noise": 0.1, "accumulate": 2, "activation_checkpointing": True},
    "fsdp": {**FSDP, "every": 4},
    "hsdp": {"parallel": {"strategy": "fsdp", "shard_over": 1}, **SAME},
    "fsdp_bf16": {"parallel": {"strategy": "fsdp", "gather": "bf16"}, "precision": "bf16", **SAME},
    "fsdp_checkpointing": {**FSDP, "accumulate": 2, "activation_checkpointing": True},
    "fsdp_branch": {"parallel": {"strategy": "fsdp"}},
    "ddp_nan": {"nan_steps": [3]},
    "fsdp_nan": {**FSDP, "nan_steps": [3]},
}
SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import toy
from geometry.engine import Precision, Schedule
torch.set_num_threads(1)
for name, options in json.loads(sys.argv[3]).items():
    options["precision"] = Precision(compute=options.pop("precision", "float32"))
    toy.train(Path(sys.argv[2]) / name, steps=8, schedule=Schedule(kind="constant"), **options)
# Resume what FSDP began, still on two processes; the run is shorter, so it ends in the middle.
options = json.loads(sys.argv[3])["fsdp"]
step = toy.ToyStep(branch=options["branch"], noise=options["noise"])
toy.train(Path(sys.argv[2]) / "fsdp", steps=12, schedule=Schedule(kind="constant"), step=step, **options)
if os.environ["RANK"] == "0":
    torch.save(step.model.state_dict(), Path(sys.argv[2]) / "whole.pt")
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Folder with the results of RUNS on two processes."""
    out = tmp_path_factory.mktemp("two")
    run_ranks(2, script(SCRIPT, out, RUNS), out)
    return out


def script(text: str, out: Path, runs: dict) -> list[str]:
    (out / "script.py").write_text(text)
    return [str(out / "script.py"), str(Path(toy.__file__).parent), str(out), json.dumps(runs)]


def torchrun(number: int, words: list[str]) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    done = subprocess.run([*launch, *words], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def one_process(out: Path, steps: int = 8, **options) -> dict[int, float]:
    toy.train(out, steps=steps, schedule=Schedule(kind="constant"), **options)
    return toy.losses(out)


def assert_same(ours: dict[int, float], theirs: dict[int, float]) -> None:
    assert ours.keys() == theirs.keys()
    assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=2e-5)


def test_two_halves_of_a_batch_make_the_whole(two, tmp_path):
    assert_same(toy.losses(two / "ddp"), one_process(tmp_path, branch=False))


def test_processes_and_accumulation_are_the_same_cut(two, tmp_path):
    assert_same(toy.losses(two / "ddp_noise"), one_process(tmp_path / "2", noise=0.1, accumulate=2))
    assert_same(toy.losses(two / "ddp_accumulate"), one_process(tmp_path / "4", noise=0.1, accumulate=4))


def test_sharding_changes_no_loss_also_after_a_resume_and_a_validation(two, tmp_path):
    # 12 steps with a resume at 8 and validations (with the average swapped in) at 8, 10 and 12.
    assert_same(toy.losses(two / "fsdp"), one_process(tmp_path / "2", steps=12, accumulate=2, **SAME))
    assert_same(toy.losses(two / "fsdp_checkpointing"), one_process(tmp_path / "4", accumulate=4, **SAME))


def test_copies_of_shards_train_as_shards_alone(two):
    assert_same(toy.losses(two / "hsdp"), {n: x for n, x in toy.losses(two / "fsdp").items() if n <= 8})


def test_blocks_gathered_narrow_train_nearly_alike_and_are_stored_wide(two):
    narrow, wide = toy.losses(two / "fsdp_bf16"), toy.losses(two / "fsdp")
    assert list(narrow.values()) == pytest.approx([wide[n] for n in narrow], rel=0.05)
    weights = load_weights(two / "fsdp_bf16/checkpoints/step_00000008")
    assert {w.dtype for w in weights.values()} == {torch.float32}


@pytest.mark.slow
def test_four_processes_are_gone_on_with_by_two(tmp_path):
    """By shards of other sizes; losses are those of four micro-batches on one process throughout."""
    text = SCRIPT[: SCRIPT.index("# Resume")].replace("steps=8", "steps=options.pop('steps')")
    copies = {
        "parallel": {"strategy": "fsdp", "shard_over": 2},
        **SAME,
        "steps": 6,
    }  # two, of two shards each
    torchrun(4, script(text, tmp_path, {"run": {**FSDP, "steps": 6, "every": 3}, "hsdp": copies}))
    assert_same(toy.losses(tmp_path / "hsdp"), toy.losses(tmp_path / "run"))
    assert len(list(tmp_path.glob("run/checkpoints/step_00000006/shard-*"))) > 4
    further = {"steps": 10, "accumulate": 2}
    copies = {"parallel": {"strategy": "fsdp", "shard_over": 1}, **SAME, **further}  # a whole copy on each
    torchrun(2, script(text, tmp_path, {"run": {**FSDP, **further}, "hsdp": copies}))
    assert_same(toy.losses(tmp_path / "run"), one_process(tmp_path / "one", steps=10, accumulate=4, **SAME))
    assert_same(toy.losses(tmp_path / "hsdp"), toy.losses(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 3])
def test_three_copies_of_two_shards_and_two_of_three(tmp_path, shards):
    text = SCRIPT[: SCRIPT.index("# Resume")].replace("steps=8", "steps=6")
    options = {"parallel": {"strategy": "fsdp", "shard_over": shards}, "batch_size": 12, **SAME}
    run_ranks(6, script(text, tmp_path, {"run": options}), tmp_path)
    whole = one_process(tmp_path / "one", steps=6, accumulate=6, batch_size=12, **SAME)
    assert_same(toy.losses(tmp_path / "run"), whole)


def test_groups_of_one_run_meet_at_one_store(monkeypatch):
    made = []
    monkeypatch.setattr(distributed, "_stores", {})
    monkeypatch.setattr(
        distributed.dist, "rendezvous", lambda *_, **__: made.append(1) or iter([("store", 0, 2)])
    )
    wait = timedelta(minutes=1)
    first = distributed._store("host", "1", "0", "2", wait=wait)
    assert distributed._store("host", "1", "0", "2", wait=wait) is first
    assert len(made) == 1
    distributed._store("host", "2", "0", "2", wait=wait)
    assert len(made) == 2


def test_fsdp_allows_a_branch_that_one_process_does_not_take(two, tmp_path):
    ours, theirs = toy.losses(two / "fsdp_branch"), one_process(tmp_path, accumulate=2)
    assert list(ours.values())[:2] == pytest.approx(list(theirs.values())[:2], rel=2e-5)


def test_one_process_goes_on_from_a_sharded_checkpoint(two, tmp_path):
    weights = load_weights(two / "fsdp/checkpoints/step_00000012", averaged=True)
    one_process(tmp_path, steps=12, accumulate=2, **SAME)
    expected = load_weights(tmp_path / "checkpoints/step_00000012", averaged=True)
    assert weights.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-6)
    shutil.copytree(two / "fsdp", tmp_path / "copy")
    with pytest.warns(UserWarning, match=r"resuming on 1 processes \(2 parts a step\) what 2 trained"):
        longer = one_process(tmp_path / "copy", steps=16, accumulate=2, **SAME)
    assert_same(longer, one_process(tmp_path / "longer", steps=16, accumulate=2, **SAME))


def test_a_sharded_model_is_whole_again_after_the_run_frozen_parts_included(two):
    found = torch.load(two / "whole.pt", weights_only=True)
    expected = toy.ToyStep().model.state_dict()  # the body is frozen
    expected |= load_weights(two / "fsdp/checkpoints/step_00000012", averaged=False)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_validation_is_the_mean_over_items_not_over_processes():
    parts = [({"a": 1.0, "b": 5.0}, 3.0), ({"a": 2.0}, 1.0)]
    assert weighted_means(parts) == {"a": 1.25, "b": 5.0}
    assert weighted_means([(parts[0][0], {"a": 3.0, "b": 1.0}), parts[1]]) == {"a": 1.25, "b": 5.0}


def test_a_nan_on_one_process_skips_the_update_on_all(two, tmp_path):
    for name, options in (("ddp_nan", {}), ("fsdp_nan", SAME)):
        ours = toy.losses(two / name)
        theirs = one_process(tmp_path / name, accumulate=2, skip_steps=[3], **options)
        assert ours.pop(3) == theirs.pop(3) == "nan"
        assert_same(ours, theirs)
        lines = [json.loads(line) for line in (two / name / "log.jsonl").read_text().splitlines()]
        (event,) = [e for e in lines if e["kind"] == "skipped"]
        assert [part["loss"] == "nan" for part in event["batch"]] == [False, True]
        assert event["batch"][1]["samples"] == [f"entry {i}" for i in range(20, 24)]

"""`geometry train`: the smoke experiment in short, resume against an unbroken run, comparisons, errors."""

import json

import pytest
import torch
from programs import run_ranks

from geometry.commands import experiment, train
from geometry.commands.comparison import comparison_table, split_sweep
from geometry.commands.configuration import instantiate
from geometry.engine import load_weights
from geometry.weights.checkpoint import find_checkpoint, load_network
from geometry.weights.files import fingerprint

SHORT = [
    "experiment=geometry/smoke",
    "threads=1",
    "data.dataset.weights.many=0",
    "data.dataset.datasets.few.worlds=2",
    "data.dataset.datasets.few.photos=3",
    "data.dataset.datasets.few.image_size=[28,42]",
    "data.sampler.image_size=[28,42]",
    "data.sampler.batch_size=1",
    "data.sampler.views=2",
    "~validation.unseen",
    "validation.training.samples=2",
    "validation.training.views=2",
    "loop.validate_first=false",
    "loop.schedule.warmup_steps=1",
    "loop.log_every=1",
]


def run(out, *overrides):
    return train.main([*SHORT, f"out={out}", *overrides])


def test_a_run_ends_with_its_two_numbers_and_an_exported_model(tmp_path, capsys):
    assert run(tmp_path, "loop.steps=2") == 0
    *_, guessing, last = capsys.readouterr().out.strip().splitlines()
    assert guessing.startswith("guessing")
    assert last.startswith("final absrel=")
    assert " auc30=" in last
    checkpoint = find_checkpoint(str(tmp_path / experiment.EXPORT))
    assert checkpoint.variant == "tiny"
    load_network(checkpoint)
    assert list((tmp_path / "images").rglob("*.png"))


@pytest.mark.extended
def test_two_sharded_processes_with_a_frozen_backbone_validate_one_sample_and_export(tmp_path):
    options = [*SHORT, "data.sampler.batch_size=2", "validation.training.samples=1", "guess=false"]
    options += ["loop.steps=1", "loop.parallel.strategy=fsdp", "+step.learning_rates.backbone=0"]
    said = run_ranks(2, ["-m", "geometry", "train", *options, f"out={tmp_path / 'run'}"], tmp_path)
    assert "final absrel=" in said
    tmp_path = tmp_path / "run"
    exported = load_network(find_checkpoint(str(tmp_path / experiment.EXPORT)))
    torch.manual_seed(0)
    fresh = instantiate(experiment.load_config(options).step).model
    assert fingerprint(exported.backbone.state_dict()) == fingerprint(fresh.backbone.state_dict())
    assert fingerprint(exported.state_dict()) != fingerprint(fresh.state_dict())
    trained = load_weights(tmp_path / "checkpoints/step_00000001")
    weights = exported.state_dict()
    assert all(torch.equal(weights[name], trained[name]) for name in trained)


@pytest.mark.extended
def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    """A constant rate, as a schedule stretches with the number of steps."""
    steady = ["loop.schedule.kind=constant", "loop.validate_every=null", "export.variant=null", "guess=false"]
    run(tmp_path / "whole", "loop.steps=3", *steady)
    run(tmp_path / "parts", "loop.steps=2", *steady)
    run(tmp_path / "parts", "loop.steps=3", *steady)
    whole, parts = (
        load_weights(tmp_path / name / "checkpoints" / "step_00000003") for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.mark.extended
def test_two_ablations_from_one_command(tmp_path, capsys):
    assert run(tmp_path, "loop.steps=1", "ablation=depth_ray,depth_cam") == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in table[-4:]] == ["run", "depth_ray", "depth_cam", "guessing"]
    terms = {}
    for name in ("depth_ray", "depth_cam"):
        first = json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])
        terms[name] = set(str(first).split("'"))
    assert "camera" not in terms["depth_ray"]
    assert "ray" in terms["depth_ray"]
    assert "ray" not in terms["depth_cam"]


def test_show_trains_nothing(tmp_path, capsys):
    assert run(tmp_path / "x", "--show") == 0
    assert "pose_probability" in capsys.readouterr().out
    assert not (tmp_path / "x").exists()


def test_a_wrong_word_is_one_line(capsys):
    assert train.main(["experiment=geometry/nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_data_set_and_a_wrong_argument_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    assert train.main(["experiment=geometry/da3_tiny"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    holds = "DL3DV scenes (64-digit folders with a transforms.json)"
    assert error == f"error: {tmp_path}/dl3dv: expected {holds}, found no such folder"
    assert train.main(["experiment=geometry/smoke", "+data.sampler.size=3"]) == 2
    assert "data.sampler" in capsys.readouterr().err.splitlines()[-1]


def test_lists_make_runs():
    assert split_sweep(["a=1"]) == {"trained": ["a=1"]}
    assert split_sweep(["ablation=x,y", "a=1"]) == {
        "x": ["a=1", "ablation=x"],
        "y": ["a=1", "ablation=y"],
    }
    with pytest.raises(ValueError, match="different names"):
        split_sweep(["ablation=x,x"])


def test_tables_leave_a_dash_for_what_a_run_lacks():
    lines = comparison_table({"a": {"absrel": 0.5, "auc30": 0.25}, "b": {"absrel": 0.125}}).splitlines()
    assert lines[1].split() == ["a", "0.500", "0.250"]
    assert lines[2].split() == ["b", "0.125", "-"]

"""`nvs train`: the smoke experiment in short, what it leaves behind, every experiment, and how it stops."""

import json
import re

import pytest
import torch
from programs import run_ranks

from geometry.commands.arguments import experiments
from geometry.commands.configuration import instantiate
from geometry.engine import load_weights
from geometry.engine.step import TrainingStep
from geometry.weights.checkpoint import find_checkpoint
from nvs.commands import experiment, train
from nvs.model.splatter import load_splatter

SHORT = [
    "experiment=nvs/smoke",
    "data.sampler.image_size=[28,42]",
    "data.sampler.views=2",
    "data.dataset.dataset.targets=2",
    "data.dataset.dataset.world.texture_size=64",
    "loop.schedule={kind: constant, warmup_steps: 1}",
    "loop.log_every=1",
]


def run(out, *overrides):
    return train.main([*SHORT, f"out={out}", *overrides])


def entries(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_ends_with_its_psnr_and_leaves_logs_pictures_and_a_head(tmp_path, capsys):
    assert run(tmp_path, "loop.steps=2", "loop.validate_every=1", "loop.tensorboard=true") == 0
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"final psnr=\d+\.\d\d", said[-1])
    validations = [e["metrics"]["psnr"] for e in entries(tmp_path) if e["kind"] == "validation"]
    assert len(validations) == 2
    assert float(said[-1].split("=")[1]) == pytest.approx(validations[-1], abs=0.005)
    first = next(e for e in entries(tmp_path) if e["kind"] == "train")
    assert {"mse", "psnr"} <= set(first["terms"])
    assert first["per_second"]["images"] > 0
    assert first["memory_bytes"] > 0
    assert list((tmp_path / "images").rglob("*.png"))
    assert list((tmp_path / "tensorboard").iterdir())
    assert load_splatter(find_checkpoint(str(tmp_path / "last.safetensors"))).head is not None


@pytest.mark.extended
def test_two_sharded_processes_write_their_head(tmp_path):
    out = tmp_path / "run"
    options = ["data.sampler.batch_size=2", "loop.steps=1", "loop.parallel.strategy=fsdp", f"out={out}"]
    assert "final psnr=" in run_ranks(2, ["-m", "nvs", "train", *SHORT, *options], tmp_path)
    # Found with its backbone: whose hash, too, was that of whole weights.
    splatter = load_splatter(find_checkpoint(str(out / "last.safetensors")))
    trained, head = load_weights(out / "checkpoints/step_00000001"), splatter.head.state_dict()
    assert all(torch.equal(tensor, trained[f"head.{name}"]) for name, tensor in head.items())


@pytest.mark.extended
def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    run(tmp_path / "whole", "loop.steps=3", "loop.validate_every=null")
    run(tmp_path / "parts", "loop.steps=2", "loop.validate_every=null")
    run(tmp_path / "parts", "loop.steps=3", "loop.validate_every=null")
    whole, parts = (
        load_weights(tmp_path / name / "checkpoints/step_00000003") for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.mark.extended
def test_a_run_that_breaks_stops_with_a_word_and_keeps_its_last_good_checkpoint(tmp_path, capsys):
    saving = ["loop.steps=2", "loop.saving.every=1", "loop.validate_every=null"]
    assert run(tmp_path, *saving) == 0
    saving[0] = "loop.steps=9"
    assert run(tmp_path, *saving, "optimizer.lr=inf") == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    # At once: skipping updates would never end, since it is the weights that are broken.
    assert re.search(r"diverged at step 4: the (loss|gradient) is not finite.* weights are not finite", error)
    (kept,) = re.findall(r"checkpoints/(step_\d+)", error)
    assert (tmp_path / "checkpoints" / kept).is_dir()
    assert entries(tmp_path)[-1]["kind"] == "diverged"


SMALL = {"nvs/dino_dl3dv": ["model.size=small", "model.weights=null"]}


@pytest.mark.parametrize("name", experiments("nvs"))
def test_every_experiment_builds(name):
    """On small untrained backbones, without LPIPS: neither weights nor data sets are on every machine."""
    small = SMALL.get(name, ["model.weights=untrained:tiny"])
    config = experiment.load_config([f"experiment={name}", *small, "loss.lpips=0", "step.validation=null"])
    step = instantiate(config.step)
    assert isinstance(step, TrainingStep)
    assert step.trainable_parameters()
    assert all(n.startswith(("head.", "network.depth_head.")) for n in trained(step.model))
    for part in (config.data.sampler, config.loop, config.optimizer):
        instantiate(part)


def trained(model):
    return [n for n, p in model.named_parameters() if p.requires_grad]


def test_lpips_without_its_weights_stops_before_anything_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    words = ["experiment=nvs/gs_dl3dv", "model.weights=untrained:tiny", "step.validation=null"]
    assert train.main([*words, f"out={tmp_path / 'run'}"]) == 2
    assert re.search(r"error: .*vgg16-397923af\.pth is missing", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experiment=nvs/nothing"], "nvs/nothing"),
        (["experiment=nvs/smoke", "optimizer.lerning_rate=1"], "lerning_rate"),
        (["experiment=nvs/smoke", "model.flavour=sH"], "rgb or sh, got 'sH'"),
    ],
)
def test_a_wrong_word_is_one_line(words, said, tmp_path, capsys, unchecked):
    assert train.main([*words, f"out={tmp_path}"]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert said in error

"""Every experiment and every ablation composes, builds on the meta device, and says what it should."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from geometry.commands.experiment import load_config
from geometry.commands.train import main
from geometry.engine.step import TrainingStep
from geometry.errors import InputError
from geometry.models.dual_dpt import SeparateDpt

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = sorted(p.stem for p in (CONFIGS / "experiment/geometry").glob("*.yaml"))
ABLATIONS = sorted(p.stem for p in (CONFIGS / "ablation").glob("*.yaml"))


def step_of(cfg):
    with torch.device("meta"):
        return instantiate(cfg.step, _convert_="all")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_builds(name):
    # Held-out photos need captures, which test_finetune has.
    without = ["validation=none"] if name == "finetune" else []
    cfg = load_config([f"experiment=geometry/{name}", *without])
    step = step_of(cfg)
    assert isinstance(step, TrainingStep)
    assert step.trainable_parameters()
    assert step.blocks()
    instantiate(cfg.data.sampler)
    instantiate(cfg.loop.schedule)
    assert name in cfg.out or name == "da3"


@pytest.mark.extended
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_fits_the_recipe(name):
    cfg = load_config(["experiment=geometry/da3_tiny", f"ablation={name}"])
    assert step_of(cfg).trainable_parameters()


@pytest.mark.extended
def test_ablations_change_the_network_that_they_name():
    def at(name):
        return load_config(["experiment=geometry/da3_tiny", f"ablation={name}"])

    plain = step_of(at("none")).model
    full, two = step_of(at("full_alternation")).model, step_of(at("two_transformers")).model
    assert plain.backbone.alternate_from == 4
    assert full.backbone.alternate_from == 0
    assert len(two.backbone.blocks) == 24
    assert two.backbone.alternate_from == 12
    assert isinstance(step_of(at("separate_heads")).model.depth_head, SeparateDpt)


def test_a_misspelt_override_is_one_line():
    with pytest.raises(InputError, match="lerning"):
        load_config(["experiment=geometry/smoke", "optimizer.lerning_rate=1"])
    with pytest.raises(InputError, match="experiment"):
        load_config(["experiment=geometry/nothing"])


@pytest.mark.extended
@pytest.mark.parametrize("name", ["full_alternation", "two_transformers", "separate_heads"])
def test_ablated_networks_run(name):
    from geometry.views import Views

    cfg = load_config(["experiment=geometry/da3_tiny", f"ablation={name}"])
    network = instantiate(cfg.model).eval()
    with torch.no_grad():
        out = network(Views(images=torch.rand(1, 2, 3, 28, 42)), reference=torch.tensor([1]))
        skipped = network(Views(images=torch.rand(1, 2, 3, 28, 42)), rays=False)
    assert out.depth.shape == (1, 2, 28, 42)
    assert out.rays.shape == (1, 2, 16, 24, 6)
    assert skipped.rays is None


def test_an_ablation_that_changes_nothing_here_is_told_before_anything_trains(capsys, tmp_path):
    """The smoke run has no teacher labels to do without."""
    argv = ["experiment=geometry/smoke", "ablation=depth_cam,no_teacher", f"out={tmp_path / 'out'}"]
    assert main(argv) != 0
    assert "teacher labels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

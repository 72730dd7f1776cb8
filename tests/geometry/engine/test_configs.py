"""The YAML files fit the signatures."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
import toy
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from geometry.engine import parameter_groups
from geometry.engine.loop import Run
from geometry.engine.optimizer import build_optimizer

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def load(group: str, name: str):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(overrides=[f"+{group}={name}"])[group]


@pytest.mark.parametrize("name", ["default", "smoke"])
def test_a_loop_config_is_the_arguments_of_fit(name):
    loop = instantiate(load("loop", name), _convert_="all")
    parameters = {f.name for f in fields(Run) if f.init}
    assert set(loop) == set(parameters) - {"step", "data", "optimizer", "out", "config"}


def test_the_smoke_loop_runs_with_the_adamw_config(tmp_path):
    loop = instantiate(load("loop", "smoke"), _convert_="all")
    optimizer = instantiate(load("optimizer", "adamw"), _convert_="all")
    result = toy.train(tmp_path, optimizer=optimizer, **{**loop, "steps": 3})
    assert result.finished
    made = build_optimizer(optimizer, parameter_groups(toy.Net(0.0)))
    assert isinstance(made, torch.optim.AdamW)
    decay = optimizer.keywords["weight_decay"]
    assert {g["weight_decay"] for g in made.param_groups} == {0.0, decay}
    assert decay > 0

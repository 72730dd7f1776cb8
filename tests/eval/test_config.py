"""What people type becomes the config; what they mistype is named."""

import pytest
from omegaconf import OmegaConf

from eval.__main__ import main
from eval.commands.config import compose
from geometry.errors import InputError


def test_weights_are_named_as_elsewhere():
    for name in ("base", "runs/mine=2 (best), step 5.safetensors", "org/name"):
        assert compose(["benchmark.root=x", f"model={name}"]).model == name
    assert compose(["benchmark.root=x"]).model == "tiny"


def test_the_configuration_is_shown_without_data(capsys):
    assert main(["run", "--cfg", "benchmark=tanks"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert OmegaConf.is_missing(shown.benchmark, "root")
    assert OmegaConf.is_missing(shown.benchmark.source, "root")
    assert shown.benchmark.size == [270, 480]
    assert main(["run", "--cfg", "benchmark.root=x", "model=mine.safetensors"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert (shown.benchmark.source.root, shown.model) == ("x", "mine.safetensors")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("benchmark=nerf", "nerf"),
        ("methd=nearest", "methd"),
        ("benchmark.rule.evry=4", "evry"),
        ("benchmark.root=???", "expected a value for benchmark.root"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(InputError, match=message):
        compose(["benchmark.root=x", override])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sweep.factor=3.0", {"sweep.spacing": 3.0}),
        ("sweep.neighbours=2", {"sweep.sources": 2}),
        ("method=nvs.sweep_and_refine:novel_views", {"method": "optimise", "optimise.steps": 400}),
        ("method=nvs.sweep_and_refine:novel_views_tiny", {"method": "model", "refine": 400}),
    ],
)
def test_renamed_words_are_taken_with_a_warning(old, new):
    with pytest.warns(UserWarning, match="is now"):
        config = compose(["benchmark.root=x", old])
    assert {name: OmegaConf.select(config, name) for name in new} == new

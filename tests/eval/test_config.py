"""What people type becomes the config; what they mistype is named."""

import pytest

from eval.commands.config import compose
from geometry.errors import InputError


def test_weights_are_named_as_elsewhere():
    for name in ("base", "runs/mine=2 (best), step 5.safetensors", "org/name"):
        assert compose(["benchmark.root=x", f"model={name}"]).model == name
    assert compose(["benchmark.root=x"]).model == "tiny"


def test_values_are_taken_as_they_are():
    path = "/my photos/a=b, (c) 'd'"
    config = compose(["benchmark=dl3dv"], {"benchmark.root": path})
    assert config.benchmark.source.root == path
    assert config.benchmark.size == [270, 480]


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

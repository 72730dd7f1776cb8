"""The file that ships: written from training exports, loaded by default, and it says what it is."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from geometry.console import announce, listening
from geometry.errors import InputError
from geometry.models.zoo import build
from geometry.weights.checkpoint import find_checkpoint, save_checkpoint
from geometry.weights.files import fingerprint
from geometry.weights.hub import APACHE
from nvs.model.parametrisation import GaussianAdapter
from nvs.model.splatter import Splatter, load_splatter, new_gaussian_head, save_splatter

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bundle_tiny.py"
_spec = importlib.util.spec_from_file_location("bundle_tiny", SCRIPT)
bundle_tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bundle_tiny)
ABOUT = ["--steps", "3 geometry + 2 head", "--hours", "0.5"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the two trainings leave: a network, and a head that names it."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network, adapter = build("tiny"), GaussianAdapter("rgb")
    head = new_gaussian_head("tiny", adapter)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    geometry = folder / "geometry" / "model.safetensors"
    geometry.parent.mkdir()
    save_checkpoint(geometry, network, variant="tiny", released=False, licence=APACHE)
    splatter = Splatter(network, head, adapter)
    backbone = {"backbone": str(geometry), "backbone_sha256": fingerprint(network.state_dict())}
    save_splatter(
        folder / "best.safetensors", splatter, variant="tiny", released=False, licence=APACHE,
        with_network=False, **backbone,
    )  # fmt: skip
    return folder, splatter


@pytest.fixture(scope="module")
def bundled(trained):
    folder, _ = trained
    out = folder / "weights" / "tiny.safetensors"
    out.parent.mkdir()
    assert bundle_tiny.main([str(folder / "geometry"), str(folder), *ABOUT, "--out", str(out)]) == 0
    return out


def test_loads_what_was_trained_in_half_precision(trained, bundled):
    _, splatter = trained
    loaded = load_splatter(find_checkpoint(str(bundled)))
    assert loaded.adapter.settings == splatter.adapter.settings
    for mine, theirs in ((loaded.network, splatter.network), (loaded.head, splatter.head)):
        wanted = theirs.state_dict()
        assert mine.state_dict().keys() == wanted.keys()
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, wanted[name].half().float() if tensor.is_floating_point() else tensor)


def test_header_says_where_it_comes_from(bundled):
    with safe_open(bundled, framework="pt") as file:
        header = file.metadata()
    assert header["licence"] == "Apache-2.0"
    assert header["steps"] == "3 geometry + 2 head"
    assert header["hours"] == "0.5"
    assert {"recipe", "commit", "data", "hardware", "adapter"} <= header.keys()
    assert bundled.stat().st_size < 20_000_000


def test_is_the_default_and_says_so_on_one_line(bundled, monkeypatch, capsys):
    monkeypatch.setattr("geometry.weights.checkpoint.BUNDLED", bundled.parent)
    checkpoint = find_checkpoint("tiny")
    assert checkpoint.trained
    with listening():
        announce(checkpoint)
    (line,) = capsys.readouterr().err.splitlines()
    for words in ("tiny", "bundled", "Apache-2.0"):
        assert words in line
    for words in ("procedural world", "never on a photo"):
        assert words in checkpoint.metadata["description"]


def test_without_the_file_it_is_an_error_and_never_random_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("geometry.weights.checkpoint.BUNDLED", tmp_path)
    with pytest.raises(InputError, match=r"tiny\.safetensors.*found no such file"):
        find_checkpoint("tiny")


def test_random_weights_say_so(capsys):
    with listening():
        announce(find_checkpoint("untrained:tiny"))
    assert "random" in capsys.readouterr().err


def test_geometry_alone(trained, tmp_path):
    folder, splatter = trained
    out = tmp_path / "tiny.safetensors"
    assert bundle_tiny.main([str(folder / "geometry" / "model.safetensors"), *ABOUT, "--out", str(out)]) == 0
    assert load_splatter(find_checkpoint(str(out))).head is None


def test_refuses_a_head_of_other_weights(trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "model.safetensors"
    torch.manual_seed(1)
    save_checkpoint(other, build("tiny"), variant="tiny", released=False, licence=APACHE)
    with pytest.raises(InputError, match="other weights"):
        bundle_tiny.main([str(other), str(folder), *ABOUT, "--out", str(tmp_path / "out.safetensors")])
    assert not (tmp_path / "out.safetensors").exists()

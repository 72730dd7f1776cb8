"""The splatter as a thing to train: where it starts from, what is written, that no key is lost silently."""

import pytest
import torch
from head_runs import example
from safetensors import safe_open

from geometry.errors import InputError
from geometry.weights.checkpoint import find_checkpoint, untrained
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.splatter import (
    Splatter,
    load_splatter,
    new_gaussian_head,
    released_gaussian_head,
    save_splatter,
)
from nvs.training.model import build_model, export, load_trained


def write_head(path, adapter, *, with_network=True):
    """A file with a head of some kind whose last layer is not zero."""
    torch.manual_seed(3)
    released = isinstance(adapter, ReleasedAdapter)
    head = released_gaussian_head("tiny") if released else new_gaussian_head("tiny", adapter)
    torch.nn.init.normal_(head.out[2].weight, std=0.05)
    splatter = Splatter(load_splatter(untrained("tiny")).network, head, adapter)
    save_splatter(
        path, splatter, variant="tiny", released=False, licence="Apache-2.0", with_network=with_network
    )
    return path


def engine_checkpoint(monkeypatch, weights):
    """`export` reads an engine checkpoint; here its content is given."""
    monkeypatch.setattr("nvs.training.model.load_weights", lambda checkpoint: weights)


def trained_weights(model):
    return {n: p.detach() + 0.01 for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.extended
@pytest.mark.parametrize(
    "adapter", [GaussianAdapter("rgb"), GaussianAdapter("sh", sh_degree=1), ReleasedAdapter()]
)
def test_a_head_in_the_file_is_taken_as_it_is(adapter, tmp_path):
    path = write_head(tmp_path / "model.safetensors", adapter)
    model = build_model(str(path))
    assert model.warm
    assert model.adapter.settings == adapter.settings
    views = example(1).context.views
    with torch.no_grad():
        ours, theirs = model(views).gaussians, load_splatter(find_checkpoint(str(path)))(views).gaussians
    assert torch.equal(ours.means, theirs.means)
    assert torch.equal(ours.sh, theirs.sh)


def test_another_flavour_needs_a_new_head(tmp_path):
    path = str(write_head(tmp_path / "model.safetensors", GaussianAdapter("rgb")))
    with pytest.raises(InputError, match="holds a Gaussian head of flavour 'rgb', expected 'sh'"):
        build_model(path, flavour="sh")
    anew = build_model(path, flavour="sh", new_head=True)
    assert not anew.warm
    assert anew.adapter.settings == GaussianAdapter("sh").settings
    assert not anew.head.out[2].weight.any()


def test_weights_without_a_head_get_a_new_one_of_the_wanted_flavour():
    assert build_model("untrained:tiny").adapter.flavour == "sh"
    model = build_model("untrained:tiny", flavour="rgb")
    assert (model.adapter.flavour, model.warm) == ("rgb", False)


@pytest.mark.extended
def test_a_head_on_a_frozen_backbone_is_written_alone_and_found_with_it(tmp_path, monkeypatch):
    model = build_model("untrained:tiny")
    weights = trained_weights(model)
    engine_checkpoint(monkeypatch, weights)
    path = tmp_path / "head.safetensors"
    export(model, tmp_path, path, description="a test")
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    assert names
    assert all(name.startswith("gaussian_head.") for name in names)

    loaded = load_splatter(find_checkpoint(str(path)))
    assert loaded.head is not None
    for name, parameter in loaded.head.named_parameters():
        assert torch.equal(parameter, weights[f"head.{name}"])
    views = example(2).context.views
    with torch.no_grad():
        ours, theirs = loaded(views).gaussians, model.eval()(views).gaussians
    assert torch.equal(ours.means, theirs.means)

    again = build_model(str(path))  # trained further, it still names the backbone, not the head's file
    assert again.warm
    assert again.backbone_name == "untrained:tiny"


def test_a_head_on_another_backbone_is_refused(tmp_path, monkeypatch):
    model = build_model("untrained:tiny")
    engine_checkpoint(monkeypatch, trained_weights(model))
    with torch.no_grad():
        next(model.network.parameters()).add_(1e-3)
    export(model, tmp_path, tmp_path / "head.safetensors", description="a test")
    with pytest.raises(InputError, match="holds other weights, to which the head does not belong"):
        find_checkpoint(str(tmp_path / "head.safetensors"))


def test_a_trained_backbone_is_written_with_its_head(tmp_path, monkeypatch):
    model = build_model("untrained:tiny", lr_factors={"head": 1.0, "network": 0.1})
    weights = trained_weights(model)
    engine_checkpoint(monkeypatch, weights)
    export(model, tmp_path, tmp_path / "model.safetensors", description="a test")
    loaded = load_splatter(find_checkpoint(str(tmp_path / "model.safetensors")))
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_no_key_is_dropped_silently():
    model = build_model("untrained:tiny")
    weights = trained_weights(model)
    name = next(iter(weights))
    with pytest.raises(InputError, match=f"missing: {name}"):
        load_trained(model, {n: w for n, w in weights.items() if n != name})
    with pytest.raises(InputError, match=r"unexpected: head\.extra"):
        load_trained(model, {**weights, "head.extra": torch.zeros(1)})

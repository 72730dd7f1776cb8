"""Finding, reading and strictly loading weights; every refusal names the file and the reason."""

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.models.zoo import build
from geometry.views import Views
from geometry.weights import hub
from geometry.weights.checkpoint import (
    find_checkpoint,
    load_network,
    read_checkpoint,
    save_checkpoint,
    untrained,
)
from geometry.weights.released_names import released_name


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("small", released=True).eval()


@pytest.fixture(scope="module")
def released_file(network, tmp_path_factory):
    """A file in the released form, as the hub has it: ``model.`` in front, one alias kept."""
    path = tmp_path_factory.mktemp("released") / "model.safetensors"
    state = {f"model.{released_name(k, 'any-view')}": v for k, v in network.state_dict().items()}
    save_file(state, path)
    (path.parent / "config.json").write_text('{"model_name": "da3-small"}')
    return path


def images():
    return Views(images=torch.rand(1, 2, 3, 28, 42, generator=torch.Generator().manual_seed(1)))


def test_released_file_loads_as_the_released_network(network, released_file):
    for model in (str(released_file), str(released_file.parent)):
        checkpoint = find_checkpoint(model)
        assert (checkpoint.variant, checkpoint.released, checkpoint.trained) == ("small", True, True)
        with torch.inference_mode():
            assert_close(load_network(checkpoint)(images()).depth, network(images()).depth)


def test_variant_is_seen_from_shapes_without_config(network, released_file, tmp_path):
    path = tmp_path / "renamed.safetensors"
    path.write_bytes(released_file.read_bytes())
    assert read_checkpoint(path).variant == "small"


@pytest.mark.extended
def test_ours_round_trip_in_half_precision(tmp_path):
    torch.manual_seed(1)
    tiny = build("tiny").eval()
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(
        path,
        tiny,
        variant="tiny",
        released=False,
        licence="Apache-2.0",
        dtype=torch.float16,
        description="a test",
    )
    assert path.stat().st_size < 20e6
    checkpoint = find_checkpoint(str(path))
    assert checkpoint.metadata["description"] == "a test"
    assert "a test" not in checkpoint.summary  # which is short
    assert "Apache-2.0" in checkpoint.summary
    for name, value in load_network(checkpoint).state_dict().items():
        assert_close(value, tiny.state_dict()[name].half().float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("model.cam_dec.fc_t.bias"), r"missing: camera_decoder\.translation\.bias"),
        (
            lambda s: s.update({"model.head.more.weight": torch.zeros(1)}),
            r"unexpected tensors: model\.head\.more",
        ),
        (
            lambda s: s.update({"model.cam_dec.fc_t.bias": torch.zeros(4)}),
            r"other shapes: camera_decoder\.translation\.bias \[4\] instead of \[3\]",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, said, network, tmp_path):
    state = {f"model.{released_name(k, 'any-view')}": v for k, v in network.state_dict().items()}
    change(state)
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    with pytest.raises(InputError, match=said) as error:
        load_network(read_checkpoint(path))
    assert str(path) in str(error.value)


def test_half_written_file(released_file, tmp_path):
    path = tmp_path / "model.safetensors"
    content = released_file.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        find_checkpoint(str(path))


def test_another_size_than_asked_for(released_file, monkeypatch, tmp_path):
    folder = tmp_path / "DA3-BASE"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(released_file.read_bytes())
    monkeypatch.setenv("FEEDFORWARD_NVS_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="expected weights of 'base', the file holds 'small'"):
        find_checkpoint("base")


def test_weights_put_by_hand_are_found_with_their_licence(released_file, monkeypatch, tmp_path):
    folder = tmp_path / "DA3-SMALL"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(released_file.read_bytes())
    monkeypatch.setenv("FEEDFORWARD_NVS_CACHE", str(tmp_path))
    assert find_checkpoint("small").licence == "Apache-2.0"
    assert "Apache-2.0" in find_checkpoint("depth-anything/DA3-SMALL").summary


def test_offline_says_which_file_to_put_where(monkeypatch, tmp_path):
    import huggingface_hub

    def no_network(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(hub, "_require_network", no_network)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setenv("FEEDFORWARD_NVS_CACHE", str(tmp_path))
    with pytest.raises(InputError) as error:
        find_checkpoint("giant")
    message = str(error.value)
    assert "DA3-GIANT-1.1/resolve/main/model.safetensors" in message
    assert str(tmp_path / "DA3-GIANT-1.1") in message
    assert "\n" not in message


def test_a_size_is_a_size_even_beside_a_folder_of_that_name(monkeypatch, tmp_path):
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tiny").variant == "tiny"
    with pytest.raises(InputError, match=r"tiny/model\.safetensors: no such"):
        find_checkpoint("./tiny")


@pytest.mark.parametrize("model", ["huge", "untrained:huge", "no/such/file.safetensors"])
def test_unknown_models(model):
    with pytest.raises(InputError):
        find_checkpoint(model)


def test_untrained_weights_say_so_and_are_the_same_every_time():
    first, second = untrained("tiny"), untrained("tiny")
    assert not first.trained
    assert "UNTRAINED" in first.summary
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name])

"""The contract with the released checkpoints: every key of theirs has its place in ours."""

import json

import pytest
import torch

from geometry.models.zoo import VARIANTS, any_view_variant, build
from geometry.weights.released_names import convert, is_released, kind_of, modern_names, released_name
from nvs.model.splatter import released_gaussian_head

FILES = {
    "small": "keys_da3-small.json",
    "base": "keys_da3-base.json",
    "large": "keys_da3-large.json",
    "giant": "keys_da3-giant.json",
    "mono-large": "keys_da3mono-large.json",
    "metric-large": "keys_da3metric-large.json",
    "nested-giant-large": "keys_da3nested-giant-large.json",
}


def our_shapes(variant, with_gaussians):
    """Names and shapes of the released network in our code, on the meta device: nothing is allocated."""
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build(variant, released=True).state_dict().items()}
        if with_gaussians:
            prefix = "any_view." if VARIANTS[variant].kind == "nested" else ""
            head = released_gaussian_head(any_view_variant(variant)).state_dict()
            shapes |= {f"{prefix}gaussian_head.{k}": tuple(v.shape) for k, v in head.items()}
    return shapes


@pytest.mark.extended
@pytest.mark.parametrize("variant", FILES)
def test_every_released_key_maps_to_one_of_ours(variant, keys_dir):
    keys = json.loads((keys_dir / FILES[variant]).read_text())["state_dict"]
    theirs, unknown = convert({f"model.{k}": tuple(v["shape"]) for k, v in keys.items()})
    assert not unknown
    assert theirs == our_shapes(variant, with_gaussians=any("gs_head" in k for k in keys))


def test_a_small_gaussian_head_maps_too(keys_dir):
    keys = json.loads((keys_dir / "keys_small_gs_extra.json").read_text())["state_dict"]
    theirs, unknown = convert({k: tuple(v["shape"]) for k, v in keys.items()})
    assert not unknown
    ours = {
        f"gaussian_head.{k}": tuple(v.shape) for k, v in released_gaussian_head("small").state_dict().items()
    }
    assert theirs == ours


def test_names_go_back():
    for variant in ("small", "mono-large"):
        kind = VARIANTS[variant].kind
        for name in our_shapes(variant, with_gaussians=False):
            back, unknown = convert({f"model.{released_name(name, kind)}": 0})
            # A single name does not tell the kind; any-view is assumed.
            assert not unknown
            if kind == "any-view":
                assert list(back) == [name]


def test_any_one_of_the_aliased_names_is_enough():
    for level in range(4):
        state = {f"model.head.scratch.output_conv2_aux.{level}.2.weight": level}
        assert convert(state) == ({"depth_head.ray_norm.weight": level}, [])
    all_four = {f"head.scratch.output_conv2_aux.{level}.2.bias": level for level in range(4)}
    assert convert(all_four)[0] == {"depth_head.ray_norm.bias": 3}  # the last written wins, as officially


def test_unknown_names_are_named():
    assert convert({"model.head.extra.weight": 1, "model.cam_dec.fc_t.bias": 2}) == (
        {"camera_decoder.translation.bias": 2},
        ["model.head.extra.weight"],
    )


def test_older_training_names():
    older = {
        "module.net.pretrained.camera_token": "placeholder",
        "module.net.pretrained.camera_token_extra": "trained",
        "module.all_heads.camera_cond_head.token_norm.bias": "encoder",
        "module.all_heads.camera_head.more_mlps.0.bias": "decoder",
        "module.all_heads.camera_head.fc_rot.bias": "rotation",
        "module.all_heads.head.scratch.output_conv1_ray.3.0.bias": "rays",
        "module.gaussian_param_head.projects.0.bias": "gaussians",
    }
    assert is_released(older)
    ours, unknown = convert(older)
    assert not unknown
    assert ours == {
        "backbone.camera_token": "trained",
        "camera_encoder.token_norm.bias": "encoder",
        "camera_decoder.trunk.0.bias": "decoder",
        "camera_decoder.quaternion.bias": "rotation",
        "depth_head.ray_neck.0.bias": "rays",
        "gaussian_head.reassemble.project.0.bias": "gaussians",
    }
    assert kind_of(modern_names(older)) == "any-view"


def test_tiny_is_tiny():
    shapes = our_shapes("tiny", with_gaussians=True)
    assert sum(torch.Size(s).numel() for s in shapes.values()) <= 10_000_000
    assert VARIANTS["tiny"].width == 192
    assert VARIANTS["tiny"].depth == 12

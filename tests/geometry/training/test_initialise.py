"""Starting weights: DINOv2 by timm's names, checkpoints whole or with fresh parts, one line otherwise."""

import pytest
import torch

from geometry.errors import InputError
from geometry.models.zoo import VARIANTS, build_backbone
from geometry.training.architecture import any_view_network, monocular_network, teacher_network
from geometry.training.initialise import initialise, load_dinov2, load_known


def dino_like(backbone):
    """A DINOv2 state under timm's names, from a backbone of ours."""
    torch.manual_seed(1)
    return {
        k.replace(".w12.", ".fc1.").replace(".w3.", ".fc2."): torch.randn_like(v)
        for k, v in backbone.state_dict().items()
        if k != "camera_token" and ".q_norm." not in k and ".k_norm." not in k
    }


def test_dinov2_fills_all_but_tokens_and_norms():
    backbone = any_view_network("tiny").backbone
    state = dino_like(backbone)
    fresh = {k: v.clone() for k, v in backbone.state_dict().items() if k not in state}
    assert load_dinov2(backbone, state) == len(state)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, state.get(name, fresh.get(name)))


def test_the_second_transformer_stays_fresh():
    state = dino_like(any_view_network("tiny").backbone)
    two = any_view_network("tiny", two_transformers=True).backbone
    before = two.blocks[12].mlp.fc1.weight.clone()
    load_dinov2(two, state)
    torch.testing.assert_close(two.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])
    torch.testing.assert_close(two.blocks[12].mlp.fc1.weight, before)


def test_timm_has_the_names_and_shapes_we_expect():
    timm = pytest.importorskip("timm")
    for name, size in (("small", "small"), ("giant", "giant")):
        with torch.device("meta"):
            theirs = timm.create_model(f"vit_{size}_patch14_dinov2", dynamic_img_size=True).state_dict()
            ours = build_backbone(VARIANTS[name])
        load_dinov2(ours, theirs)  # copies nothing on meta, but names and shapes must agree


def test_a_wrong_size_is_refused():
    state = dino_like(any_view_network("tiny").backbone)
    with torch.device("meta"):
        small = any_view_network("small").backbone
    with pytest.raises(InputError, match="another shape"):
        load_dinov2(small, state)
    with pytest.raises(InputError, match="DINOv2 of width 192"):
        initialise(any_view_network("tiny"), "dinov2")


def test_a_teacher_starts_from_a_monocular_network():
    plain, teacher = monocular_network("mono-tiny"), teacher_network("mono-tiny")
    assert "objects_out" in load_known(teacher, plain.state_dict(), "mono")
    torch.testing.assert_close(teacher.backbone.cls_token, plain.backbone.cls_token)
    with pytest.raises(InputError, match="unexpected"):
        load_known(monocular_network("mono-tiny"), teacher.state_dict(), "teacher")

"""With every addition off, the backbone is DINOv2: timm's is the outside source."""

import pytest
import timm
import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.models.vit import VisionTransformer
from geometry.models.zoo import VARIANTS, build_backbone
from geometry.training.architecture import any_view_network
from geometry.weights.dinov2 import load_dinov2


def randomise(model, generator):
    """Weights at which every part matters: LayerScale near 1, position embedding not near 0."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.normal_(generator=generator)
            if value.ndim == 1:
                value.mul_(0.1).add_(1.0 if name.endswith(("weight", "gamma")) else 0.0)
            elif name.endswith("weight"):
                value.div_(value[0].numel() ** 0.5)
    return model.eval()


@pytest.fixture(scope="module")
def timm_small():
    model = timm.create_model(
        "vit_small_patch14_dinov2", pretrained=False, num_classes=0, dynamic_img_size=True
    )
    return randomise(model, torch.Generator().manual_seed(0))


def plain(width, depth, heads, **sizes):
    last = (depth - 1,) * 4
    return VisionTransformer(
        width, depth, heads, output_blocks=last, alternate_from=None, concat_local=False, **sizes
    ).eval()


def agree(ours, theirs, size, generator, *, grad):
    images = torch.randn(1, 2, 3, *size, generator=generator)
    with torch.set_grad_enabled(grad):
        features = ours(images)
        tokens = theirs.forward_features(images[0])
    assert_close(features.patches[-1][0], tokens[:, 1:], atol=2e-4, rtol=1e-4)
    assert_close(ours.norm(features.camera_tokens[-1][0]), tokens[:, 0], atol=2e-4, rtol=1e-4)


@pytest.mark.extended
def test_small_is_dinov2(timm_small, generator):
    ours = plain(384, 12, 6)
    assert load_dinov2(ours, timm_small.state_dict()) == ()
    agree(ours, timm_small, (84, 126), generator, grad=False)


@pytest.mark.extended
def test_dinov2_at_its_own_grid(generator):
    """1370 tokens, positions as stored; three blocks, since this size takes its time."""
    theirs = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, depth=3)
    randomise(theirs, generator)
    ours = plain(384, 3, 6)
    load_dinov2(ours, theirs.state_dict())
    agree(ours, theirs, (518, 518), generator, grad=False)


def test_small_is_dinov2_where_gradients_are_recorded(timm_small, generator):
    ours = plain(384, 12, 6)
    load_dinov2(ours, timm_small.state_dict())
    agree(ours, timm_small, (84, 126), generator, grad=True)


def test_swiglu_is_dinov2_giants(generator):
    theirs = TimmViT(
        img_size=70,
        patch_size=14,
        embed_dim=96,
        depth=3,
        num_heads=3,
        init_values=1e-5,
        mlp_ratio=2.66667 * 2,
        mlp_layer=SwiGLUPacked,
        act_layer=torch.nn.SiLU,
        num_classes=0,
        dynamic_img_size=True,
    )
    randomise(theirs, generator)
    ours = plain(96, 3, 3, feed_forward="swiglu", stored_grid=5)
    load_dinov2(ours, theirs.state_dict())
    for grad in (False, True):
        agree(ours, theirs, (56, 84), generator, grad=grad)


def test_the_additions_keep_their_initialisation(timm_small):
    ours = VisionTransformer(384, 12, 6, output_blocks=(5, 7, 9, 11), alternate_from=4, concat_local=True)
    camera = ours.camera_token.detach().clone()
    left = load_dinov2(ours, {**timm_small.state_dict(), "head.weight": torch.zeros(3, 384)})
    assert "camera_token" in left
    assert "blocks.4.attn.q_norm.weight" in left
    assert len(left) == 1 + 4 * 8
    assert_close(ours.camera_token, camera)
    assert_close(ours.blocks[7].attn.qkv.weight, timm_small.blocks[7].attn.qkv.weight)


@pytest.mark.extended
def test_other_weights_are_refused(timm_small):
    state = timm_small.state_dict()
    with pytest.raises(InputError, match="missing"):
        load_dinov2(plain(384, 12, 6), {k: v for k, v in state.items() if k != "cls_token"})
    with pytest.raises(InputError, match="unexpected: reg_token"):
        load_dinov2(plain(384, 12, 6), {**state, "reg_token": state["cls_token"]})
    with pytest.raises(InputError, match="pos_embed"):
        load_dinov2(plain(384, 12, 6, stored_grid=16), state)


def test_the_second_of_two_transformers_stays_fresh(generator):
    state = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in any_view_network("tiny").backbone.state_dict().items()
        if name != "camera_token" and ".q_norm." not in name and ".k_norm." not in name
    }
    two = any_view_network("tiny", two_transformers=True).backbone
    before = two.blocks[12].mlp.fc1.weight.clone()
    load_dinov2(two, state)
    assert_close(two.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])
    assert_close(two.blocks[12].mlp.fc1.weight, before)


@pytest.mark.extended
@pytest.mark.parametrize("size", ["small", "giant"])
def test_released_sizes_have_timms_names_and_shapes(size):
    with torch.device("meta"):
        theirs = timm.create_model(f"vit_{size}_patch14_dinov2", dynamic_img_size=True).state_dict()
        ours = build_backbone(VARIANTS[size])
    load_dinov2(ours, theirs)  # copies nothing on meta, but names and shapes must agree

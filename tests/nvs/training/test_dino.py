"""Plain DINOv2 under the same head: what the protocol asks for is all that training needs."""

import pytest
import torch
from head_runs import SIZE, example
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.views import Views
from geometry.weights.files import fingerprint
from nvs.losses import GaussianObjective
from nvs.model.backbone import Backbone
from nvs.training.dino import build_dino_model
from nvs.training.step import GaussianHeadStep


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_dino_model("small", flavour="sh")


def test_it_is_a_backbone_that_starts_from_depth_one(model):
    assert isinstance(model.network, Backbone)
    views = example(1).context.views
    with torch.no_grad():
        encoding = model.network.encode_views(views)
        splats = model(views)
    assert [p.shape for p in encoding.patches] == [(1, 3, 3 * 4, 384)] * 4
    assert_close(encoding.geometry.depth, torch.ones(1, 3, *SIZE))
    # The given cameras come back, and depth 1 is in their world a multiple of their spread.
    assert torch.equal(splats.geometry.cameras.extrinsics, views.cameras.extrinsics)
    depth = splats.geometry.depth
    assert_close(depth, depth[0, 0, 0, 0].expand_as(depth))


def test_its_features_are_those_of_the_transformer(model):
    """Four levels of one view alone: a view's neighbours change nothing, its pixels do."""
    views = example(2).context.views
    alone = Views(images=views.images[:, 1:2], cameras=views.cameras[:, 1:2])
    with torch.no_grad():
        both, one = model.network.encode_views(views), model.network.encode_views(alone)
    for level, single in zip(both.patches, one.patches):
        assert_close(level[:, 1:2], single, rtol=1e-4, atol=1e-4)
        assert (level[:, 0] - level[:, 1]).abs().max() > 1e-3


def test_a_step_trains_both_heads_and_not_the_transformer(model):
    step = GaussianHeadStep(model, GaussianObjective(lpips=0.0, depth=0.0))
    before = fingerprint(model.network.backbone.state_dict())
    names = {n for group in step.trainable_parameters() for n in group.parameters}
    assert {n.split(".")[0] for n in names} == {"head", "network"}
    assert all(n.startswith(("head.", "network.depth_head.")) for n in names)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for seed in (3, 4):  # the depth head's last layer starts at zero, so that the rest moves from step two
        loss, _ = step.training_loss(example(seed), torch.Generator())
        loss.backward()
        assert all(p.grad is None for p in model.network.backbone.parameters())
        optimizer.step()
    moved = [p for n, p in model.named_parameters() if n.startswith("network.depth_head.depth_out.2")]
    assert any(p.abs().max() > 0 for p in moved)
    assert fingerprint(model.network.backbone.state_dict()) == before


def test_views_without_cameras_are_refused(model):
    with pytest.raises(InputError, match=r"DINOv2 finds no cameras.*step\.posed=1"):
        model(Views(images=example(5).context.views.images))


def test_wrong_weights_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file of DINOv2 weights"):
        build_dino_model("small", weights=str(tmp_path / "absent.pth"))
    torch.save({"cls_token": torch.zeros(1, 1, 384)}, tmp_path / "half.pth")
    with pytest.raises(InputError, match=r"half\.pth: does not fit timm's vit_small_patch14_dinov2; missing"):
        build_dino_model("small", weights=str(tmp_path / "half.pth"))
    with pytest.raises(InputError, match="expected a size of small, base, large, got 'huge'"):
        build_dino_model("huge")

"""Who is trained, how fast, with what decay."""

from functools import partial

import pytest
import torch
from torch import nn

from geometry.engine import parameter_groups
from geometry.engine.optimizer import build_optimizer, clip_gradients, decays, set_learning_rate
from geometry.errors import InputError


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 9, 4))
        self.patch_embed = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.norm = nn.LayerNorm(4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(4, 4)
        self.head2 = nn.Linear(4, 4)


def test_the_longest_whole_prefix_gives_the_factor_and_zero_freezes():
    groups = parameter_groups(Net(), {"": 1.0, "backbone": 0.1, "backbone.blocks.1": 0.0, "head": 2.0})
    factor = {name: g.lr_factor for g in groups for name in g.parameters}
    assert factor["head.weight"] == 2.0
    assert factor["head2.weight"] == 1.0  # "head" is not a part of the name "head2"
    assert factor["backbone.blocks.0.weight"] == 0.1
    assert "backbone.blocks.1.weight" not in factor
    assert [g.name for g in groups] == ["backbone", "head", "all"]


def test_layer_decay_slows_early_layers():
    groups = parameter_groups(
        Net(), {"backbone": 0.1, "head": 1.0}, layers="backbone.blocks", layer_decay=0.5
    )
    factor = {name: g.lr_factor for g in groups for name in g.parameters}
    assert factor["backbone.blocks.2.weight"] == pytest.approx(0.1)
    assert factor["backbone.blocks.0.weight"] == pytest.approx(0.1 * 0.25)
    assert factor["backbone.patch_embed.weight"] == pytest.approx(0.1 * 0.125)
    assert factor["backbone.cls_token"] == pytest.approx(0.1 * 0.125)
    assert factor["backbone.norm.weight"] == pytest.approx(0.1)
    assert factor["head.weight"] == 1.0
    assert "head2.weight" not in factor


def test_a_misspelt_prefix_is_named():
    with pytest.raises(InputError, match="begins with 'bakbone'; there are backbone, head, head2"):
        parameter_groups(Net(), {"": 1.0, "bakbone": 0.1})


def test_norms_biases_and_tokens_do_not_decay():
    kept = {name for name, p in Net().named_parameters() if decays(name, p)}
    assert kept == {
        "backbone.patch_embed.weight",
        *(f"backbone.blocks.{i}.weight" for i in range(3)),
        "head.weight",
        "head2.weight",
    }


def test_the_optimizer_gets_rates_and_decay():
    groups = parameter_groups(Net(), {"backbone": 0.1, "head": 1.0})
    optimizer = build_optimizer(partial(torch.optim.AdamW, lr=2e-4, weight_decay=0.05), groups)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.05, 0.0, 0.05, 0.0]
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-5, 1e-5, 1e-4, 1e-4])


@pytest.mark.parametrize("max_norm", [1.0, 100.0, None])
def test_clipping_is_torchs(max_norm, generator):
    ours, theirs = ([nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))] for _ in range(2))
    for a, b in zip(ours, theirs):
        a.grad = 3 * torch.randn(a.shape, generator=generator)
        b.grad = a.grad.clone()
    norm = clip_gradients(ours, max_norm)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm or 1e9).item())
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad)

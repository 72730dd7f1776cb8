"""The matching term: it judges what attention really computes, and reaches its weights."""

import pytest
import torch
from torch.testing import assert_close

from geometry.engine.activation_checkpoint import checkpoint_activations
from geometry.errors import InputError
from geometry.losses.objective import AnyViewObjective
from geometry.models.da3 import normalise_images
from geometry.ops.correspondence import match_patches
from geometry.training.architecture import any_view_network
from geometry.training.matching import AttentionMatching, MatchingSettings, attention_logits
from geometry.training.student import StudentStep


@pytest.fixture
def model():
    torch.manual_seed(0)
    return any_view_network("tiny")


def test_the_logits_are_those_of_the_attention(model, batch, monkeypatch):
    """Referee: the queries and keys that the attention function itself is handed."""
    handed = []
    kind = type(model.backbone.blocks[0].attn)
    real = kind.mix
    monkeypatch.setattr(kind, "mix", lambda self, q, k, v: handed.append((q, k)) or real(self, q, k, v))
    matching = AttentionMatching(model.backbone, MatchingSettings(blocks=2))
    B, V, _, H, W = batch.views.images.shape
    with matching.recorded() as seen:
        model.encode(normalise_images(batch.views.images), reference=torch.zeros(B, dtype=torch.long))
    first = next(i for i in range(len(model.backbone.blocks)) if model.backbone.crosses_views(i))
    grid = (H // 14, W // 14)
    matches = match_patches(batch.truth, 14)
    tokens = 1 + grid[0] * grid[1]
    for place, block in enumerate((first, first + 2)):
        query, key = handed[block]
        wanted = (query @ key.mT / query.shape[-1] ** 0.5).unflatten(-1, (V, tokens))
        wanted = wanted.unflatten(2, (V, tokens))[:, :, :, 1:].flatten(2, 3)  # patches ask
        got = attention_logits(seen[place, "q_norm"], seen[place, "k_norm"], matches, V, grid)
        assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_term_reaches_the_weights_of_attention(model, batch, checkpointed):
    if checkpointed:
        checkpoint_activations(model.backbone.blocks)
    objective = AnyViewObjective(matching=1.0, camera=0.0)
    step = StudentStep(model, objective, matching=MatchingSettings(blocks=1))
    _, terms = step.training_loss(batch, torch.Generator().manual_seed(0))
    assert set(terms) == {"depth", "ray", "point", "gradient", "matching", "match_accuracy"}
    (gradient,) = torch.autograd.grad(terms["matching"], model.backbone.blocks[5].attn.qkv.weight)
    width = model.backbone.width
    assert gradient[: width // 3].abs().max() > 0  # queries of the first head
    assert gradient[width // 3 : width].abs().max() == 0  # the others stay free
    assert gradient[2 * width :].abs().max() == 0  # so do values


def test_it_is_learned(model, batch):
    step = StudentStep(model, AnyViewObjective(matching=1.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    values = []
    for _ in range(12):
        _, terms = step.training_loss(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        terms["matching"].backward()
        optimizer.step()
        values.append(terms["matching"].item())
    assert values[-1] < 0.8 * values[0]


def test_nothing_is_recorded_afterwards(model, batch):
    matching = AttentionMatching(model.backbone, MatchingSettings())
    with matching.recorded():
        model(batch.views)
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("settings", [{"blocks": 5}, {"heads": 4}])
def test_more_than_the_network_has_is_refused(model, settings):
    with pytest.raises(InputError, match="the network has 4 and 3"):
        AttentionMatching(model.backbone, MatchingSettings(**settings))


def test_nothing_to_teach_is_refused():
    with pytest.raises(InputError, match="at least one block"):
        MatchingSettings(blocks=0)

"""L_A: solved by hand, its least value, what does not count, gradients in float64."""

import math
from dataclasses import fields

import pytest
import torch
from torch.testing import assert_close

from geometry.losses.matching import matching_loss
from geometry.ops.correspondence import PatchMatches

VIEWS, T = 2, 3  # 8 tokens: a camera token and three patches a view


def matches_of(*rows):
    """One scene; each row is (patch that asks, [patches found], [weights])."""
    asked, found, weights = zip(*rows)
    return PatchMatches(
        patch=torch.tensor([asked]),
        matches=torch.tensor([found]),
        weights=torch.tensor([weights], dtype=torch.float64),
    )


def test_attention_that_looks_everywhere_alike_costs_log_of_the_tokens():
    matches = matches_of((0, [3, 4], [0.25, 0.75]))
    loss, _ = matching_loss(torch.zeros(1, 1, 1, VIEWS, T + 1, dtype=torch.float64), matches)
    assert_close(loss.item(), math.log(8))


def test_by_hand():
    # Patch 4 is token 6. Its logit is log 7, seven others are 0: its share is 1/2.
    logits = torch.zeros(1, 1, 1, VIEWS, T + 1, dtype=torch.float64)
    logits[..., 1, 2] = math.log(7)
    loss, right = matching_loss(logits, matches_of((0, [4, 5], [1.0, 0.0])))
    assert_close(loss.item(), math.log(2))
    assert right == 1
    loss, right = matching_loss(logits, matches_of((0, [3, 5], [1.0, 0.0])))
    assert_close(loss.item(), math.log(14))
    assert right == 0


def test_the_least_value_is_the_entropy_of_the_shares():
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    logits = torch.full((1, 1, 1, VIEWS, T + 1), -40.0, dtype=torch.float64)
    logits[0, 0, 0, 1, 1:] = weights.log()
    loss, _ = matching_loss(logits, matches_of((0, [3, 4, 5], weights.tolist())))
    assert_close(loss.item(), -(weights * weights.log()).sum().item())


def test_patches_without_a_match_do_not_count():
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 2, VIEWS, T + 1, dtype=torch.float64)
    one = matching_loss(logits[:, :, :1], matches_of((0, [3, 4], [0.5, 0.5])))
    two = matching_loss(logits, matches_of((0, [3, 4], [0.5, 0.5]), (1, [3, 4], [0.0, 0.0])))
    assert_close(one[0], two[0])
    assert_close(one[1], two[1])


def test_no_match_at_all_is_no_loss_and_no_gradient():
    logits = torch.randn(1, 1, 1, VIEWS, T + 1, dtype=torch.float64, requires_grad=True)
    loss, _ = matching_loss(logits, matches_of((0, [3, 4], [0.0, 0.0])))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("heads", [1, 3])
def test_gradients(heads):
    torch.manual_seed(0)
    logits = torch.randn(1, heads, 2, VIEWS, T + 1, dtype=torch.float64, requires_grad=True)
    matches = matches_of((0, [3, 4], [0.4, 0.6]), (5, [0, 1], [1.0, 0.0]))
    assert torch.autograd.gradcheck(lambda x: matching_loss(x, matches)[0], (logits,))


def test_a_batch_has_the_same_loss_in_one_part_and_in_two():
    """A scene of one match counts as one of many, whatever shares its part."""
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 3, VIEWS, T + 1, dtype=torch.float64)
    many = matches_of(*((i, [3, 4], [0.4, 0.6]) for i in range(3)))
    few = matches_of((0, [4, 5], [0.5, 0.5]), *((i, [3, 4], [0.0, 0.0]) for i in (1, 2)))
    both = PatchMatches(
        **{f.name: torch.cat([getattr(m, f.name) for m in (many, few)]) for f in fields(PatchMatches)}
    )
    parts = [matching_loss(logits[i : i + 1], m) for i, m in enumerate((many, few))]
    for whole, one, two in zip(matching_loss(logits, both), *parts):
        assert_close(whole, (one + two) / 2)

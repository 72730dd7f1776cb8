"""Attention by products around a softmax, against the definition in float64."""

import pytest
import torch
from torch.testing import assert_close

from geometry.accelerate import attention as dot_product
from geometry.accelerate.attention import attention
from geometry.accelerate.linear import takes_onednn


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch):
    """Sequences of tens of tokens go through the code for thousands, a few queries at a time."""
    monkeypatch.setattr(dot_product, "LONG", 4)
    monkeypatch.setattr(dot_product, "FEWEST_ROWS", 5)
    monkeypatch.setattr(dot_product, "SCORES_IN_CACHE", 8 * 23)


def heads_of(generator: torch.Generator, *, spread: float = 1.0) -> torch.Tensor:
    """Query, key, value [2, 3, 23, 16] as views of one projection's output, as the layers make them."""
    qkv = spread * torch.randn(2, 23, 3, 3, 16, generator=generator)
    return qkv.permute(2, 0, 3, 1, 4)


def definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    query, key, value = query.double(), key.double(), value.double()
    return torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1) @ value


@pytest.mark.parametrize("spread", [1.0, 100.0], ids=["soft", "almost one-hot"])
def test_is_the_definition(spread, generator):
    qkv = heads_of(generator, spread=spread)
    with torch.inference_mode():
        assert_close(attention(*qkv).double(), definition(*qkv), atol=1e-5 * spread, rtol=1e-5)


def test_the_fast_way_is_taken_where_it_can_be(generator, monkeypatch):
    calls = []
    monkeypatch.setattr(dot_product, "_by_rows", lambda *qkv: calls.append(qkv))
    qkv = heads_of(generator)
    with torch.inference_mode():
        fast = takes_onednn(qkv)
        attention(*qkv)
        assert len(calls) == fast
        attention(*qkv.double())
        attention(*qkv[..., :4, :])  # not longer than LONG
    attention(*qkv.clone().requires_grad_())
    assert len(calls) == fast


@pytest.mark.parametrize("short", [4, 128], ids=["PyTorch's", "plain products"])
def test_gradients_are_the_definitions(short, generator, monkeypatch):
    monkeypatch.setattr(dot_product, "SHORT", short)
    qkv = [x.clone().requires_grad_() for x in heads_of(generator)]
    exact = [x.detach().double().requires_grad_() for x in qkv]
    weigh = torch.randn(2, 3, 23, 16, generator=generator)
    got = torch.autograd.grad((attention(*qkv) * weigh).sum(), qkv)
    wanted = torch.autograd.grad((definition(*exact) * weigh).sum(), exact)
    for a, b in zip(got, wanted):
        assert_close(a.double(), b, atol=1e-5, rtol=1e-5)


def test_heads_join_without_a_copy(generator):
    with torch.inference_mode():
        mixed = attention(*heads_of(generator))
        if takes_onednn(mixed):
            assert mixed.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["plain", "keys share a direction"])
def test_half_precision_stays_near(offset, generator):
    """What all keys share is in every score and moves no weight; left in, it would cost digits."""
    query, key, value = heads_of(generator, spread=1.5).bfloat16()
    qkv = query, key.float() + offset * torch.randn(16, generator=generator), value
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        if not takes_onednn(query):
            pytest.skip("no bfloat16 products here")
        mixed = attention(*qkv)
    assert mixed.dtype == torch.bfloat16
    exact = definition(*qkv)
    assert (mixed.double() - exact).norm() < 0.015 * exact.norm()

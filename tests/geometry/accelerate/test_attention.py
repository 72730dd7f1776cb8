"""Attention by products around a softmax, against the definition in float64."""

import pytest
import torch
from torch.testing import assert_close

from geometry.accelerate import attention
from geometry.accelerate.attention import attention_by_products, attention_by_rows
from geometry.accelerate.products import formats


@pytest.fixture(autouse=True)
def a_few_queries_at_a_time(monkeypatch):
    """Sequences of tens of tokens go through the code for thousands."""
    monkeypatch.setattr(attention, "FEWEST_ROWS", 5)
    monkeypatch.setattr(attention, "SCORES_IN_CACHE", 8 * 23)


def heads_of(generator: torch.Generator, *, spread: float = 1.0) -> torch.Tensor:
    """Query, key, value [2, 3, 23, 16] as views of one projection's output, as the layers make them."""
    qkv = spread * torch.randn(2, 23, 3, 3, 16, generator=generator)
    return qkv.permute(2, 0, 3, 1, 4)


def definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    query, key, value = query.double(), key.double(), value.double()
    return torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1) @ value


needs_onednn = pytest.mark.skipif(not formats(), reason="no oneDNN products here")


@needs_onednn
@pytest.mark.parametrize("spread", [1.0, 100.0], ids=["soft", "almost one-hot"])
def test_rows_are_the_definition(spread, generator):
    qkv = heads_of(generator, spread=spread)
    with torch.inference_mode():
        mixed = attention_by_rows(*qkv)
    assert_close(mixed.double(), definition(*qkv), atol=1e-5 * spread, rtol=1e-5)
    assert mixed.transpose(1, 2).is_contiguous()  # heads join without a copy


def test_gradients_of_products_are_the_definitions(generator):
    qkv = [x.clone().requires_grad_() for x in heads_of(generator)]
    exact = [x.detach().double().requires_grad_() for x in qkv]
    weigh = torch.randn(2, 3, 23, 16, generator=generator)
    got = torch.autograd.grad((attention_by_products(*qkv) * weigh).sum(), qkv)
    wanted = torch.autograd.grad((definition(*exact) * weigh).sum(), exact)
    for a, b in zip(got, wanted):
        assert_close(a.double(), b, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(torch.bfloat16 not in formats(), reason="no bfloat16 products here")
@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["plain", "keys share a direction"])
def test_half_precision_stays_near(offset, generator):
    """What all keys share is in every score and moves no weight; left in, it would cost digits."""
    query, key, value = heads_of(generator, spread=1.5).bfloat16()
    qkv = query, key.float() + offset * torch.randn(16, generator=generator), value
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attention_by_rows(*qkv)
    assert mixed.dtype == torch.bfloat16
    exact = definition(*qkv)
    assert (mixed.double() - exact).norm() < 0.015 * exact.norm()

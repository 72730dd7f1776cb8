"""Layers against PyTorch's plain operations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from geometry.accelerate import linear as linear_module
from geometry.accelerate.linear import linear, prepare
from geometry.layers.block import Block
from geometry.layers.rope import Rotary, across_views, rotary_tables, rotate, rotate_tokens, within_view
from geometry.layers.uv_embed import add_uv_embedding, uv_axes


@pytest.fixture(params=[torch.no_grad, torch.enable_grad], ids=["inference", "recorded"])
def mode(request):
    with request.param():
        yield


def test_linear_is_pytorchs(mode, generator):
    layer = nn.Linear(20, 12)
    x = torch.randn(2, 7, 40, generator=generator)[..., ::2]  # strided: products must not mind
    wanted = F.linear(x, layer.weight, layer.bias)
    assert_close(linear(x, layer.weight, layer.bias), wanted)
    assert_close(prepare(layer)(x), wanted)
    assert_close(prepare(layer, gelu=True)(x), F.gelu(wanted))
    assert_close(linear(x, layer.weight), F.linear(x, layer.weight))


@pytest.mark.parametrize("gelu", [False, True], ids=["plain", "gelu"])
def test_products_under_autocast_are_pytorchs(gelu, generator):
    layer = nn.Linear(40, 24)
    x = torch.randn(30, 40, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        came = prepare(layer, gelu=gelu)(x)
        wanted = F.gelu(layer(x)) if gelu else layer(x)
        once = linear(x, layer.weight, layer.bias)
    assert came.dtype == once.dtype == torch.bfloat16
    assert_close(came, wanted, atol=1e-2, rtol=1e-2)  # GELU before or after rounding to 8 bits
    assert_close(once, layer(x).bfloat16(), atol=2e-2, rtol=2e-2)


def test_linear_follows_changed_weights():
    layer = nn.Linear(8, 4)
    x = torch.ones(3, 8)
    with torch.no_grad():
        first = prepare(layer)(x)
        layer.weight.mul_(2.0)
        assert_close(prepare(layer)(x), 2 * (first - layer.bias) + layer.bias)


def test_inference_in_bfloat16_stays_near(generator):
    block = Block(64, 2, qk_norm_eps=1e-6).eval()
    x = torch.randn(2, 5, 64, generator=generator)
    with torch.no_grad():
        wanted = block(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            came = block(x)
    assert came.dtype == torch.float32  # the residual stream keeps its precision
    assert_close(came, wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("feed_forward", ["mlp", "swiglu"])
def test_block_in_pieces_is_the_block(feed_forward, generator, monkeypatch):
    block = Block(32, 2, feed_forward=feed_forward, qk_norm_eps=1e-6, layer_scale=0.5).eval()
    x = torch.randn(5, 9, 32, generator=generator)
    kept = x.clone()
    wanted = block(x).detach()
    for rows in (1, 10, 20, 2048):
        monkeypatch.setattr("geometry.layers.block.ROWS_IN_CACHE", rows)
        with torch.inference_mode():
            assert_close(block(x), wanted, atol=1e-5, rtol=1e-5)
    assert_close(x, kept, atol=0, rtol=0)  # the input is the caller's


def test_block_compiles_to_the_same_numbers(generator):
    block = Block(32, 2, qk_norm_eps=1e-6).eval()
    x = torch.randn(2, 9, 32, generator=generator)
    rotary = within_view((2, 4), 16)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(x, rotary), block(x, rotary), atol=1e-5, rtol=1e-5)
    assert_close(compiled(x, rotary), block(x, rotary), atol=1e-5, rtol=1e-5)


def test_rotation_by_hand():
    """Channels 0 and 1 turn with the row, 2 and 3 with the column, one radian per step."""
    positions = torch.tensor([[1, 0], [0, 2]])
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    wanted = torch.stack(
        (
            torch.stack((one.cos(), one.sin(), torch.tensor(1.0), torch.tensor(0.0))),
            torch.stack((torch.tensor(1.0), torch.tensor(0.0), two.cos(), two.sin())),
        )
    )
    assert_close(rotate(x, rotary_tables(positions, 4)), wanted)


def test_across_views_gives_the_scores_of_the_released_positions(generator):
    """Patches at (1, 1), special slots at (0, 0), three views: turning the special slots alone is enough."""
    grid, views, d = (2, 3), 3, 8
    tokens = 1 + grid[0] * grid[1]
    query, key = torch.randn(2, 1, 2, views * tokens, d, dtype=torch.float64, generator=generator)
    released = torch.ones(views, tokens, 2, dtype=torch.long)
    released[:, 0] = 0
    tables = rotary_tables(released.flatten(0, 1), d)
    wanted = rotate(query, tables) @ rotate(key, tables).mT
    across = across_views(grid, d)
    scores = rotate_tokens(query, across) @ rotate_tokens(key, across).mT
    assert_close(scores, wanted, atol=1e-5, rtol=1e-5)
    still = query @ key.mT
    assert (still - wanted).abs().max() > 0.1


def test_only_the_first_of_a_period_turn(generator):
    x = torch.randn(2, 6, 4, generator=generator)
    cos, sin = rotary_tables(torch.tensor([[3, 1]]), 4)
    turned = rotate_tokens(x, Rotary(cos, sin, period=3))
    assert_close(turned[:, ::3], rotate(x[:, ::3], (cos, sin)))
    assert_close(turned[:, 1::3], x[:, 1::3])
    assert_close(turned[:, 2::3], x[:, 2::3])


def test_uv_embedding_by_hand():
    u, v = uv_axes((2, 3), 1.5)
    embedded = add_uv_embedding(torch.ones(1, 8, 2, 3), 1.5)[0]
    waves = [(axis, f, wave) for axis in (u, v) for wave in (torch.sin, torch.cos) for f in (1, 0.1)]
    for channel, (axis, frequency, wave) in enumerate(waves):
        wanted = 1 + 0.1 * wave(frequency * axis)
        wanted = wanted.expand(2, 3) if channel < 4 else wanted[:, None].expand(2, 3)
        assert_close(embedded[channel], wanted)


def test_this_machine_takes_the_fast_products_where_it_can():
    """On x86 with oneDNN in PyTorch: should a release drop the operator, this says so."""
    if linear_module._ONEDNN:
        assert hasattr(torch.ops.mkldnn, "_linear_pointwise")
        with torch.no_grad():
            assert linear_module.takes_onednn(torch.zeros(2, 2))
    assert not linear_module.takes_onednn(torch.zeros(2, 2))  # autograd is recording

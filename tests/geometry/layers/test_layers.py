"""Layers against PyTorch's plain operations."""

import pytest
import torch
from torch.testing import assert_close

from geometry.layers.block import Block
from geometry.layers.rope import Rotary, across_views, rotary_tables, rotate, rotate_tokens, within_view
from geometry.layers.uv_embed import add_uv_embedding, uv_axes


@pytest.mark.extended
def test_block_compiles_to_the_same_numbers(generator, unchecked):
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
    assert_close(turned[:, ::3], rotate(x[:, ::3], (cos.expand(2, -1), sin.expand(2, -1))))
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

"""The whole sweep on a scene with known depth."""

import importlib.util
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from geometry.views import Views
from nvs.stereo import sweep_depth

_spec = importlib.util.spec_from_file_location("stereo_scene", Path(__file__).with_name("conftest.py"))
scene = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scene)


@pytest.fixture(scope="module")
def swept(board):
    views, _ = board
    return sweep_depth(views, scene.SIZE)


def test_depth_is_found(board, swept):
    _, truth = board
    error = (swept.depth / truth - 1).abs()
    assert error.median() < 0.01
    assert swept.trusted.float().mean() > 0.6
    assert error[swept.trusted].quantile(0.9) < 0.03


def test_trust_is_earned(board, swept):
    """Trusted depth is better than the rest, and nothing that floats is trusted."""
    _, truth = board
    error = (swept.depth / truth - 1).abs()
    assert error[swept.trusted].mean() < 0.5 * error[~swept.trusted].mean()
    assert not (swept.trusted & swept.floating).any()


@pytest.mark.extended
def test_second_round_helps(board):
    views, truth = board
    first, second = (sweep_depth(views, scene.SIZE, rounds=r) for r in (1, 2))
    wrong = [((s.depth / truth - 1).abs() > 0.05).float().mean() for s in (first, second)]
    assert wrong[1] < wrong[0]


def test_scale_of_the_world_cancels(swept):
    views, _ = scene.draw(scene.cameras_in_a_row(scale=7.0), scale=7.0)
    other = sweep_depth(views, scene.SIZE)
    assert ((other.depth / (7 * swept.depth) - 1).abs() < 0.02).float().mean() > 0.97


def test_a_coarser_grid(board):
    views, truth = board
    swept = sweep_depth(views, (24, 32))
    assert swept.depth.shape == (1, 5, 24, 32)
    assert (swept.depth / truth[..., ::2, ::2] - 1).abs().median() < 0.02


def test_refuses_what_it_cannot_do(board):
    views, _ = board
    with pytest.raises(InputError, match="poses"):
        sweep_depth(Views(images=views.images), scene.SIZE)
    with pytest.raises(InputError, match="two or more"):
        sweep_depth(Views(images=views.images[:, :1], cameras=views.cameras[:, :1]), scene.SIZE)


def test_same_answer_on_any_number_of_threads(board, swept):
    views, _ = board
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = sweep_depth(views, scene.SIZE)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again.depth, swept.depth)


def test_blocks_of_views_bound_the_memory_and_change_nothing(board, swept):
    views, _ = board
    one_view = 48 * 64 * 64 * 12 / 1e9
    blocks = sweep_depth(views, scene.SIZE, memory_gb=2.1 * one_view)
    assert torch.equal(blocks.depth, swept.depth)
    assert torch.equal(blocks.trusted, swept.trusted)

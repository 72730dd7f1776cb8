"""When a run is called lost, and when not."""

import math

import pytest

from geometry.engine import DivergenceGuard


def feed(guard, losses, norm=1.0):
    for i, loss in enumerate(losses):
        if reason := guard.check(loss, norm, scaled=False):
            return i, reason
    return None


@pytest.mark.parametrize("level", [100.0, 1.0, 0.0, -5.0])
def test_works_for_losses_of_any_sign(level):
    usual = [level + 0.1 * math.sin(i) for i in range(100)]
    guard = DivergenceGuard(factor=10, patience=5, window=50)
    assert feed(guard, usual) is None
    assert guard.healthy
    step, reason = feed(guard, [level + 50] * 10)
    assert step == 4
    assert "5 steps on end" in reason
    assert not guard.healthy


def test_hard_batches_and_a_falling_loss_pass():
    guard = DivergenceGuard(factor=10, patience=3, window=50)
    losses = [1 / (i + 1) + (100 if i % 5 == 0 else 0) for i in range(300)]
    assert feed(guard, losses) is None


def test_fp16_overflow_is_pardoned_for_a_while():
    guard = DivergenceGuard(patience=3)
    said = [guard.check(1.0, math.inf, scaled=True) for _ in range(3)]
    assert said[:2] == [None, None]
    assert "gradient is not finite" in said[2]


def test_only_nan_stops_without_a_factor():
    guard = DivergenceGuard(factor=None, patience=1, window=10, skips_in_row=3, skips_in_all=5)
    assert feed(guard, [1.0] * 20 + [1e9] * 20) is None
    assert feed(guard, [math.nan, math.inf, 1.0]) is None
    assert guard.healthy  # the weights saw none of it
    at, reason = feed(guard, [math.nan] * 9)
    assert (at, "the loss is not finite (nan), for 3 steps on end") == (2, reason)
    guard = DivergenceGuard(skips_in_row=3, skips_in_all=5)
    at, reason = feed(guard, [math.nan, 1.0] * 9)
    assert (at, "5 steps in all" in reason) == (8, True)


def test_state_goes_on_where_it_was():
    a, b = (DivergenceGuard(factor=10, patience=5, window=50) for _ in range(2))
    feed(a, [1.0, 1.1] * 25 + [50.0] * 3)
    a.check(math.nan, 1.0, scaled=False)
    b.load(a.state())
    assert (b.skipped, b.skipped_on_end) == (1, 1)
    assert b.check(50.0, 1.0, scaled=False) == a.check(50.0, 1.0, scaled=False)
    assert b.check(50.0, 1.0, scaled=False) == a.check(50.0, 1.0, scaled=False) is not None

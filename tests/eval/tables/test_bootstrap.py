"""The paired bootstrap: solved cases, and how often its interval holds the truth."""

import numpy as np
import pytest

from eval.tables.bootstrap import paired_difference


def test_a_constant_difference_has_no_width():
    first = np.array([20.0, 12.0, 17.0, 15.0, 30.0])
    assert paired_difference(first, first - 1.5) == pytest.approx((1.5, 1.5, 1.5, 5))


def test_few_scenes_have_no_interval():
    assert paired_difference(np.array([3.0]), np.array([1.0])) == (2.0, None, None, 1)
    assert paired_difference(np.arange(4.0), np.zeros(4)) == (1.5, None, None, 4)


def test_pairing_takes_the_scenes_out():
    rng = np.random.default_rng(0)
    scenes = rng.uniform(10, 30, 40)  # far more between scenes than between methods
    noise = rng.normal(0, 0.1, 40)
    found = paired_difference(scenes + 0.5 + noise, scenes)
    assert found.low > 0.4
    assert found.high < 0.6
    assert found.low < 0.5 < found.high


def test_interval_is_that_of_the_normal_for_many_scenes():
    rng = np.random.default_rng(1)
    difference = rng.normal(1.0, 2.0, 400)
    found = paired_difference(difference, np.zeros(400))
    half = 1.96 * difference.std() / np.sqrt(400)
    assert found.low == pytest.approx(difference.mean() - half, abs=0.02)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.02)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for i in range(200):
        found = paired_difference(rng.normal(0.3, 1, 30), np.zeros(30), draws=500, seed=i)
        held += found.low < 0.3 < found.high
    assert 0.88 < held / 200 < 0.99


def test_the_same_numbers_give_the_same_interval():
    first, second = np.random.default_rng(3).normal(size=(2, 10))
    assert paired_difference(first, second) == paired_difference(first, second)
    assert paired_difference(first, second).low != paired_difference(first, second, seed=1).low

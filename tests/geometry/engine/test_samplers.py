"""Requests are pure functions of (seed, step), cover epochs exactly and respect the budget."""

import numpy as np
import pytest

from geometry.engine import FixedBatchSampler, SampleRequest, TokenBudgetSampler
from geometry.errors import InputError


def budget(**options) -> TokenBudgetSampler:
    settings = {"tokens": 50_000, "image_sizes": [(504, 504), (280, 504), (504, 896)], "views": (2, 18)}
    return TokenBudgetSampler(**{**settings, **options})


def test_each_epoch_reads_every_entry_once_in_another_order():
    sampler = FixedBatchSampler(batch_size=4)
    requests = [r for step in range(10) for r in sampler.requests(step, seed=3, parts=2, length=10)]
    epochs = np.array([r.index for r in requests]).reshape(4, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert len({tuple(e) for e in epochs}) == 4
    assert len({r.seed for r in requests}) == 40


def test_without_a_length_the_index_is_the_running_number():
    (a, b) = FixedBatchSampler(batch_size=2, image_size=[28, 42], views=3).requests(
        5, seed=0, parts=1, length=None
    )
    assert (a.index, b.index, a.step, a.image_size, a.views) == (10, 11, 5, (28, 42), 3)


def test_a_request_is_an_index():
    request = SampleRequest(index=2, number=7, step=3, seed=1)
    assert "abc"[request] == "c"
    assert np.arange(4)[request] == 2
    assert int(request) == 2


@pytest.mark.parametrize("parts", [1, 4])
def test_token_budget_holds_and_is_used(parts):
    sampler = budget(tokens=200_000)
    shapes = [sampler.shape(step, seed=1, parts=parts) for step in range(2000)]
    for (h, w), views, batch in shapes:
        one = h * w // 14**2 * views
        assert batch % parts == 0
        assert one * batch <= 200_000 < one * (batch + parts)
    for i, size in enumerate(sampler.image_sizes):  # each size about as often, each view count possible
        drawn = [v for s, v, _ in shapes if s == sampler.image_sizes[i]]
        assert len(drawn) == pytest.approx(2000 / 3, rel=0.15)
        assert set(drawn) == set(range(2, 19)), size


def test_token_budget_is_a_function_of_seed_and_step():
    ahead = budget().requests(2500, seed=1, parts=1, length=None)  # as a resumed run asks
    sampler, count = budget(), 0
    for step in range(2500):
        count += len(sampler.requests(step, seed=1, parts=1, length=None))
    assert sampler.requests(2500, seed=1, parts=1, length=None) == ahead
    assert ahead[0].number == count  # no number is skipped or used twice
    assert ahead != budget().requests(2500, seed=2, parts=1, length=None)
    assert len({(r.image_size, r.views) for r in ahead}) == 1


def test_views_may_depend_on_the_image_size():
    sampler = budget(image_sizes=[(504, 504), (252, 252)], views=[(2, 4), (8, 16)], weights=[1, 3])
    shapes = [sampler.shape(step, seed=0) for step in range(400)]
    assert all((2 <= v <= 4) if s == (504, 504) else (8 <= v <= 16) for s, v, _ in shapes)
    assert sum(s == (252, 252) for s, _, _ in shapes) == pytest.approx(300, abs=40)


def test_batch_multiple_makes_batches_independent_of_the_processes():
    one = budget(tokens=200_000, batch_multiple=4).requests(9, seed=0, parts=1, length=None)
    two = budget(tokens=200_000, batch_multiple=4).requests(9, seed=0, parts=2, length=None)
    assert one == two
    with pytest.raises(InputError, match="multiple of 3"):
        budget(batch_multiple=4).requests(0, seed=0, parts=3, length=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": 20_000}, r"18 views of 504 x 896, 41472 tokens"),
        ({"image_sizes": [(500, 504)]}, "500 x 504 must be a multiple of the patch 14"),
        ({"views": (4, 2)}, "least <= most"),
        ({"weights": [1.0]}, "one number >= 0 for each of the 3"),
    ],
)
def test_impossible_settings_are_named(options, said):
    with pytest.raises(InputError, match=said):
        budget(**options).requests(0, seed=0, parts=1, length=None)


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(InputError, match="batch_size 6 cannot be cut into 4"):
        FixedBatchSampler(batch_size=6).requests(0, seed=0, parts=4, length=None)


def test_a_budget_of_each_part_makes_the_batch_grow_with_them():
    options = {"image_sizes": [[504, 504]], "views": [2, 18], "per_part": True}
    sampler = TokenBudgetSampler(tokens=23328, **options)
    for parts in (1, 8, 128):
        shapes = [sampler.shape(step, seed=0, parts=parts) for step in range(50)]
        assert all(batch * views * 36**2 <= 23328 * parts for _, views, batch in shapes)
        assert all(batch == parts * (18 // views) for _, views, batch in shapes)

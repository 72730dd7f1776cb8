"""How many steps a quality comes to."""

import pytest

from geometry.errors import InputError
from nvs.options import GaussianOptions
from nvs.refine import plan_refinement


@pytest.mark.parametrize(
    ("options", "photos", "step_seconds", "steps"),
    [
        ({"refine": 150}, 43, 9.0, 150),  # said is done, however long it takes
        ({}, 43, 0.1, 18 * 43),  # every photo 18 times
        ({}, 12, 0.1, 500),  # a few photos: at least so many
        ({}, 2, 0.1, 300),  # two photos: some views become worse with more
        ({"minutes": 30.0}, 2, 0.1, 300),
        ({}, 300, 0.1, 1500),
        ({"minutes": 1.0}, 43, 0.1, 18 * 43),
        ({"quality": "best"}, 43, 0.1, 40 * 43),
        ({"minutes": 30.0}, 43, 0.1, 8000),
        ({"quality": "draft", "minutes": 1.0}, 43, 0.01, 40 * 43),
    ],
)
def test_steps(options, photos, step_seconds, steps):
    plan = plan_refinement(GaussianOptions(**options), photos, step_seconds)
    assert plan.steps == steps
    slow = plan_refinement(GaussianOptions(**options), photos, 100 * step_seconds)
    assert slow.steps == steps  # the clock ends them, not a guess of how long they take


@pytest.mark.parametrize(
    ("options", "step_seconds", "spent", "seconds"),
    [
        ({}, 1.0, 0.0, 240),  # a slow machine: four minutes
        ({}, 1.0, 1000.0, 240),  # a quality's own time
        ({"quality": "best"}, 10.0, 0.0, 1200),
        ({"minutes": 1.0}, 0.25, 35.0, 25),  # counted from the start
        ({"quality": "draft", "minutes": 1.0}, 0.5, 0.0, 60),
        ({"minutes": 1.0}, 0.25, 90.0, 30 * 0.25),  # never so little that nothing is gained
        ({}, 1000.0, 0.0, 30_000),
    ],
)
def test_the_time_ends_it_where_steps_are_slow(options, step_seconds, spent, seconds):
    plan = plan_refinement(GaussianOptions(**options), 43, step_seconds, spent=spent)
    assert plan.seconds == plan.most_seconds == seconds


def test_the_time_is_said_before_and_kept():
    plan = plan_refinement(GaussianOptions(), 43, 0.2)
    assert plan.summary.startswith("refining: 774 steps, about 2 min 35 s")
    assert (plan.seconds, plan.most_seconds) == (pytest.approx(154.8), 240)
    slow = plan_refinement(GaussianOptions(), 43, 1.0)
    assert slow.summary.startswith("refining: up to 774 steps in 4 min 00 s")
    assert plan_refinement(GaussianOptions(refine=10), 43, 0.2).most_seconds is None
    assert not GaussianOptions(quality="draft").refines
    assert not GaussianOptions(refine=0).refines
    assert GaussianOptions().refines


def test_a_draft_has_no_step_in_which_to_find_what_moved():
    with pytest.raises(InputError, match="expected refinement"):
        GaussianOptions(moving=True, quality="draft")
    assert GaussianOptions(moving=True, quality="draft", refine=10).refines


def test_a_part_has_its_share_of_steps_and_time():
    plan = plan_refinement(GaussianOptions(), 43, 0.1)
    half = plan.part(0.5)
    assert (half.steps, half.seconds, half.most_seconds) == (387, plan.seconds / 2, 120)
    assert plan.part(1.0) == plan
    assert plan_refinement(GaussianOptions(refine=1), 43, 0.1).part(0.5).steps == 1

"""How many steps a quality comes to."""

import pytest

from nvs.options import GaussianOptions
from nvs.refine import plan_refinement


@pytest.mark.parametrize(
    ("options", "photos", "step_seconds", "steps"),
    [
        ({"refine": 150}, 43, 9.0, 150),  # said is done, however long it takes
        ({}, 43, 0.1, 18 * 43),  # every photo 18 times
        ({}, 12, 0.1, 500),  # a few photos: at least so many
        ({}, 300, 0.1, 1500),
        ({}, 43, 1.0, 240),  # a slow machine: four minutes
        ({"minutes": 1.0}, 43, 0.5, 120),
        ({"quality": "best"}, 43, 0.1, 40 * 43),
        ({"quality": "best"}, 43, 10.0, 120),
        ({"minutes": 30.0}, 43, 0.1, 8000),
        ({"quality": "draft", "minutes": 1.0}, 43, 0.5, 120),
        ({}, 43, 1000.0, 30),  # never so few that nothing is gained
    ],
)
def test_steps(options, photos, step_seconds, steps):
    plan = plan_refinement(GaussianOptions(**options), photos, step_seconds)
    assert plan.steps == steps
    assert plan.seconds == pytest.approx(steps * step_seconds)


def test_minutes_count_from_the_start():
    plan = plan_refinement(GaussianOptions(minutes=1.0), 43, 0.25, spent=35.0)
    assert plan.steps == 100
    assert plan_refinement(GaussianOptions(minutes=1.0), 43, 0.25, spent=90.0).steps == 30
    assert plan_refinement(GaussianOptions(), 43, 0.2, spent=1000.0).steps == 774  # a quality's own time


def test_the_time_is_said_before_and_kept():
    plan = plan_refinement(GaussianOptions(), 43, 0.2)
    assert plan.summary.startswith("refining: 774 steps, about 2 min 35 s")
    assert plan.seconds < plan.most_seconds < 1.5 * plan.seconds
    assert plan_refinement(GaussianOptions(refine=10), 43, 0.2).most_seconds is None
    assert not GaussianOptions(quality="draft").refines
    assert not GaussianOptions(refine=0).refines
    assert GaussianOptions().refines

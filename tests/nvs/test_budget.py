"""Few minutes take few photos, so that refinement has time; many take all."""

import time
from dataclasses import replace

import numpy as np
import pytest

from geometry.capture import Capture
from geometry.console import listening
from geometry.options import PhotoOptions
from geometry.scenes.scene import Frame, Scene
from nvs import budget
from nvs.model.splatter import photo_colours
from nvs.options import GaussianOptions
from nvs.pipeline import Pipeline

SECONDS_PER_PHOTO = 0.5


def capture(photos: int, *, posed: bool = True) -> Capture:
    frames = []
    for i in range(photos):
        frame = Frame(name=f"{i}.jpg", image=lambda: None, image_size=(20, 20))
        pose = np.eye(4)
        pose[0, 3] = i
        frames.append(replace(frame, extrinsics=pose, intrinsics=np.eye(3)) if posed else frame)
    return Capture(Scene(name="s", frames=tuple(frames)), list(range(photos)), [])


@pytest.fixture
def left(monkeypatch):
    """Runs it on a machine whose clock moves with the photos; the number of photos that are left."""
    clock = [0.0]

    def splat(self, views):
        clock[0] += SECONDS_PER_PHOTO * len(views)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(Pipeline, "splat", splat)
    monkeypatch.setattr(budget, "load_views", lambda capture, few, options, device: (few, ()))

    def run(taken: Capture, minutes: float | None, spent: float = 0.0) -> int:
        clock[0] = 0.0
        pipeline = Pipeline(splatter=photo_colours(), options=GaussianOptions(minutes=minutes))
        pipeline.watch.seconds["cameras"] = spent
        with listening():
            return len(budget.limit_photos(taken, PhotoOptions(), pipeline).context)

    return run


def test_a_third_of_the_time_that_is_left_makes_gaussians(left, capsys):
    trial = SECONDS_PER_PHOTO * sum(budget.TIMED)
    expected = int((60 - trial) / 3 / SECONDS_PER_PHOTO)
    assert left(capture(200), 1.0) == expected == 37
    assert "the network takes 37 of 200 photos, chosen by farthest-point sampling" in capsys.readouterr().err
    assert left(capture(200), 1.0, spent=30.0) == int((30 - trial) / 3 / SECONDS_PER_PHOTO)
    assert left(capture(200), 10.0) == 200
    assert left(capture(200), 0.01) == budget.FEWEST


def test_nothing_is_timed_without_minutes_with_few_photos_or_where_one_pass_places_them(left):
    assert left(capture(200), None) == 200
    assert left(capture(8), 0.01) == 8
    assert left(capture(16, posed=False), 0.01) == 16

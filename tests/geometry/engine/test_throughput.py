"""Speed, by a clock that the test holds."""

import pytest

from geometry.engine.throughput import Throughput, readable_time


def test_pauses_do_not_count():
    now = [0.0]
    speed = Throughput(clock=lambda: now[0])
    assert speed.seconds_left(10) is None
    for pause in (0.0, 100.0):
        now[0] += pause
        speed.pause()
        now[0] += 0.5
        speed.data_arrived()
        now[0] += 1.5
        speed.step({"images": 8})
    assert speed.data_share() == 0.25
    assert speed.rates() == {"images": 4.0}
    assert speed.seconds_left(10) == 20.0
    assert speed.rates() == {}


def test_slow_first_steps_do_not_spoil_the_time_left():
    now = [0.0]
    speed = Throughput(clock=lambda: now[0])
    for seconds in (100.0, 1.9, 2.0, 2.1):
        now[0] += seconds
        speed.step({})
        speed.rates()
    assert speed.seconds_left(10) == pytest.approx(10 * 2.05)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4s"), (61, "1m 01s"), (3 * 3600 + 125, "3h 02m"), (90000, "1d 01h")]
)
def test_readable_time(seconds, text):
    assert readable_time(seconds) == text

"""Speed and time left, from the wall clock of training steps alone."""

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable

INTERVALS = 50  # between two `rates` each, that the estimate of the time left looks back on


class Throughput:
    """Counts items over training steps; validation and saving are left out by `pause`.

    Args:
        clock: seconds; tests pass their own.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.items: Counter[str] = Counter()
        self.steps = 0
        self.seconds = 0.0
        self.waiting = 0.0  # part of the seconds spent waiting for data
        self.step_seconds: deque[float] = deque(maxlen=INTERVALS)  # mean of each interval
        self.mark = clock()

    def step(self, items: dict[str, float]) -> None:
        """One step is done, having handled so many items of each kind (on all processes)."""
        now = self.clock()
        self.seconds += now - self.mark
        self.mark = now
        self.steps += 1
        self.items.update(items)

    def data_arrived(self) -> None:
        """The step's data is here: the time since the last step or pause was spent waiting for it."""
        self.waiting += self.clock() - self.mark

    def data_share(self) -> float:
        """Share of the time since the last `rates` spent waiting for data."""
        return self.waiting / self.seconds if self.seconds else 0.0

    def pause(self) -> None:
        """Leave out the time since the last step: it was no training."""
        self.mark = self.clock()

    def rates(self) -> dict[str, float]:
        """Items per second since the last call."""
        if not self.steps:
            return {}
        seconds = max(self.seconds, 1e-9)
        self.step_seconds.append(seconds / self.steps)
        rates = {name: count / seconds for name, count in self.items.items()}
        self.items.clear()
        self.steps, self.seconds, self.waiting = 0, 0.0, 0.0
        return rates

    def seconds_left(self, steps: int) -> float | None:
        """Estimate for so many more steps; None before the first `rates`.

        Sizes vary from step to step, so one interval says little; and the first steps compile, warm up or
        fill caches, which a mean would remember for long. Hence a median.
        """
        return steps * statistics.median(self.step_seconds) if self.step_seconds else None


def readable_time(seconds: float) -> str:
    """For example 45s, 12m 05s, 3h 20m, 2d 04h."""
    s = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if s >= size:
            return f"{s // size}{unit} {s % size // part:02d}{smaller}"
    return f"{s}s"

"""Output of commands and long work: lines of progress, times, peak memory.

The library prints nothing unless told to: by `run_command` in commands, by ``verbose=True`` in the API.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from geometry.peak_memory import peak_resident_bytes

_listener: Callable[[str], None] | None = None


def say(text: str) -> None:
    """One line of progress, for whoever listens."""
    if _listener is not None:
        _listener(text)


def counted(number: int, thing: str) -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def some(names: Sequence[str], most: int = 4) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def heard() -> bool:
    """Whether anybody listens."""
    return _listener is not None


def to_stderr(text: str) -> None:
    """Standard error, so that results can be piped."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def listening(listener: Callable[[str], None] | None = to_stderr) -> Iterator[None]:
    """What is said inside goes to ``listener``; None silences it."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def told(verbose: bool) -> AbstractContextManager[None]:
    """Progress on standard error where it is wanted; else it goes where the caller's goes, if anywhere."""
    return listening() if verbose else nullcontext()


def announce(checkpoint: Any) -> None:
    """Say what was loaded (a `geometry.weights` checkpoint), with a warning if it was never trained."""
    say(checkpoint.summary)
    if not checkpoint.trained:
        say(
            "WARNING: these weights are random. Everything runs, but what the network predicts means "
            "nothing. Use --model small (Apache-2.0) or another released size."
        )


class Stopwatch:
    """Named wall-clock stages of a command, and its peak memory."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def as_json(self) -> dict[str, Any]:
        """Seconds of each stage and of all, and peak memory in GB."""
        stages = {name: round(value, 2) for name, value in self.seconds.items()}
        peak = peak_resident_bytes() / 2**30
        return {
            "stages": stages,
            "total": round(sum(self.seconds.values()), 2),
            "peak_memory_gb": round(peak, 2),
        }

    def summary(self) -> str:
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        known = self.as_json()
        return f"time: {parts}; total {known['total']:.1f} s; peak memory {known['peak_memory_gb']:.2f} GB"

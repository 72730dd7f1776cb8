"""What a dataset tells beside a sample: where it came from, and which files were damaged.

Samples are made in loader workers, whose warnings nobody gathers. What is noted while ``dataset[request]``
runs travels with the batch; outside of a `DataStream` it goes nowhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Notes:
    """Of one sample, or of many taken together."""

    origins: list[str] = field(default_factory=list)  # one a sample: ``dl3dv/<scene>: frame_1, frame_7``
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # set -> samples, passed_over, ...
    examples: dict[tuple[str, str], str] = field(default_factory=dict)  # (set, what) -> the first message

    def add(self, notes: Iterable["Notes"]) -> "Notes":
        """This with all of those; of messages the first is kept."""
        for other in notes:
            self.origins += other.origins
            for name, counts in other.counts.items():
                self.counts.setdefault(name, Counter()).update(counts)
            self.examples = other.examples | self.examples
        return self


_current: Notes | None = None


@contextmanager
def noting() -> Iterator[Notes]:
    """What is noted inside."""
    global _current
    before, _current = _current, Notes()
    try:
        yield _current
    finally:
        _current = before


def note_origin(origin: str) -> None:
    """Say what this sample was made of."""
    if _current is not None:
        _current.origins.append(origin)


def note(name: str, what: str, message: str = "") -> None:
    """Count something (``samples``, ``passed_over``) of a set of data; the message says what it was."""
    if _current is not None:
        _current.counts.setdefault(name, Counter())[what] += 1
        if message:
            _current.examples.setdefault((name, what), message)

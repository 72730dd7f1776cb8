"""A cache of what depends on a set of context views alone."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from geometry.tensors import TensorRecord

R = TypeVar("R", bound=TensorRecord)


class RecordCache:
    """Records by key, the longest unused ones dropped when they grow beyond a limit.

    They stay on the device that made them.

    Args:
        limit_gb: of all records together, 1e9 bytes; a single larger one is not kept.
    """

    def __init__(self, limit_gb: float) -> None:
        self.limit = limit_gb * 1e9
        self.bytes = 0
        self.entries: OrderedDict[Hashable, tuple[TensorRecord, int]] = OrderedDict()

    def fetch(self, key: Hashable, compute: Callable[[], R]) -> R:
        """The record of a key, computed if it is not there; it must carry no gradients."""
        if key in self.entries:
            self.entries.move_to_end(key)
            return self.entries[key][0]  # type: ignore[return-value]
        record = compute()
        sizes: list[int] = []
        record.map(lambda tensor: sizes.append(tensor.nbytes) or tensor)  # type: ignore[func-returns-value]
        size = sum(sizes)
        if size <= self.limit:
            self.entries[key] = record, size
            self.bytes += size
            while self.bytes > self.limit:
                self.bytes -= self.entries.popitem(last=False)[1][1]
        return record

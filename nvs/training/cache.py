"""What a frozen backbone made of a set of context views, kept so that it is computed once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace

import torch

from nvs.backbone import Encoding


class FeatureCache:
    """Encodings by key, the longest unused ones dropped when they grow beyond a limit.

    They stay on the device that made them, without what no head reads.

    Args:
        limit_gb: of all encodings together, 1e9 bytes; a single larger one is not kept.
    """

    def __init__(self, limit_gb: float) -> None:
        self.limit = limit_gb * 1e9
        self.bytes = 0
        self.entries: OrderedDict[Hashable, tuple[Encoding, int]] = OrderedDict()

    def fetch(self, key: Hashable, compute: Callable[[], Encoding]) -> Encoding:
        """The encoding of a key, computed if it is not there; it must carry no gradients."""
        if key in self.entries:
            self.entries.move_to_end(key)
            return self.entries[key][0]
        encoding = compute()
        encoding = replace(encoding, geometry=replace(encoding.geometry, features=None))
        size = _bytes_of(encoding)
        if size <= self.limit:
            self.entries[key] = encoding, size
            self.bytes += size
            while self.bytes > self.limit:
                self.bytes -= self.entries.popitem(last=False)[1][1]
        return encoding


def _bytes_of(encoding: Encoding) -> int:
    sizes: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    encoding.map(count)
    return sum(sizes)

"""Lazy depth order: bucket by bucket the entries come out sorted, whatever their depths."""

import numpy as np
import pytest

from nvs.rasterizer.cpu.sorting import MOST_BUCKETS, sort_range, split


def depths(kind: str, count: int, random: np.random.Generator) -> np.ndarray:
    return {
        "spread": random.uniform(0.5, 50.0, count),
        "equal": np.full(count, 3.0),
        "outlier": np.append(random.uniform(1.0, 1.001, count - 1), 1e9),
        "descending": np.linspace(9.0, 1.0, count),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["spread", "equal", "outlier", "descending"])
@pytest.mark.parametrize("count", [1, 2, 25, 700, 20_000])
def test_buckets_then_ranges_sort_by_depth_and_index(kind, count):
    random = np.random.default_rng(0)
    bits = depths(kind, count, random).view(np.int32).astype(np.int64)
    entries = bits << 32 | random.permutation(count)
    begin, end = 3, 3 + count  # inside a longer array
    source, target = np.zeros(count + 7, np.int64), np.full(count + 7, -1)
    source[begin:end] = entries
    starts = np.empty(MOST_BUCKETS + 2, np.int64)
    buckets = split(source, target, begin, end, starts)
    assert (starts[0], starts[buckets]) == (begin, end)
    for b in range(buckets):
        sort_range(target, source, starts[b], starts[b + 1])
    np.testing.assert_array_equal(target[begin:end], np.sort(entries))
    assert (target[:begin] == -1).all()
    assert (target[end:] == -1).all()

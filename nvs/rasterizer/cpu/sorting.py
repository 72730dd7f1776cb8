"""Lazy depth order inside a tile.

`split` distributes a tile's entries over depth buckets, `sort_range` puts one bucket in order. Blending sorts
a bucket only when it gets there: most tiles are opaque long before their last Gaussian.
"""

from geometry.compiled import compiled

MOST_BUCKETS = 4096
BUCKET_SIZE = 4  # entries aimed at
INSERTION = 24  # longer ranges are merged


@compiled
def split(source, target, begin, end, starts):
    """Copy entries ``begin:end`` from source to target in bucket order; returns the number of buckets.

    ``starts[k]:starts[k + 1]`` is bucket k afterwards. Buckets are equal ranges of the depth's bit
    pattern, so nearly of its logarithm: one far outlier does not push all others into one bucket.
    """
    least = most = source[begin] >> 32
    for k in range(begin + 1, end):
        depth = source[k] >> 32
        least, most = min(least, depth), max(most, depth)
    wanted = min(MOST_BUCKETS, max(1, (end - begin) // BUCKET_SIZE))
    shift = 0
    while (most - least) >> shift >= wanted:
        shift += 1
    buckets = ((most - least) >> shift) + 1
    for b in range(buckets + 2):
        starts[b] = 0
    for k in range(begin, end):
        starts[((source[k] >> 32) - least >> shift) + 2] += 1
    starts[1] = starts[0] = begin
    for b in range(2, buckets + 2):
        starts[b] += starts[b - 1]
    # starts[b + 1] is where bucket b is written next; when all is written it is bucket b + 1's start.
    for k in range(begin, end):
        b = ((source[k] >> 32) - least >> shift) + 1
        target[starts[b]] = source[k]
        starts[b] += 1
    return buckets


@compiled
def insertion_sort(values, begin, end):
    for k in range(begin + 1, end):
        value = values[k]
        j = k - 1
        while j >= begin and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@compiled
def sort_range(values, spare, begin, end):
    """Sort ``values[begin:end]``; ``spare[begin:end]`` is overwritten. Never worse than n log n."""
    if end - begin <= INSERTION:
        insertion_sort(values, begin, end)
        return
    for k in range(begin, end, INSERTION):
        insertion_sort(values, k, min(k + INSERTION, end))
    run = INSERTION
    while run < end - begin:
        for k in range(begin, end):
            spare[k] = values[k]
        for first in range(begin, end, 2 * run):
            a, a_end = first, min(first + run, end)
            b, b_end = a_end, min(first + 2 * run, end)
            for k in range(first, b_end):
                if b >= b_end or (a < a_end and spare[a] <= spare[b]):
                    values[k] = spare[a]
                    a += 1
                else:
                    values[k] = spare[b]
                    b += 1
        run *= 2

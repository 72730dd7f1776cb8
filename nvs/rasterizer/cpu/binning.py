"""Which Gaussians touch which 16 x 16 tile: a counting sort into tiles.

An entry is one Gaussian in one tile, an int64 that orders by depth and then by index:
``depth bits << 32 | index``. Chunks of Gaussians are fixed by their number, not by the threads, and write to
disjoint ranges, so no two threads ever touch the same word.
"""

import numpy as np

from geometry.compiled import compiled
from nvs.rasterizer.cpu import layout as L

MOST_CHUNKS = 32


def chunk_shift(count: int) -> int:
    """Chunks hold ``1 << shift`` Gaussians; at most MOST_CHUNKS of them, and not tiny ones."""
    return max(10, (max(count, 1) - 1).bit_length() - MOST_CHUNKS.bit_length() + 1)


@compiled
def place_chunks(histogram, chunk_entries, chunk_slots, offsets):
    """Turn counts into positions; returns the number of entries.

    ``histogram[chunk, tile]`` becomes the first position of that chunk's entries in that tile,
    ``offsets[tile]`` the tile's first position, ``chunk_slots[chunk]`` the chunk's first slot.
    """
    chunks, tiles = histogram.shape
    total = 0
    for tile in range(tiles):
        offsets[tile] = total
        for chunk in range(chunks):
            here = histogram[chunk, tile]
            histogram[chunk, tile] = total
            total += here
    offsets[tiles] = total
    slots = 0
    for chunk in range(chunks):
        chunk_slots[chunk] = slots
        slots += chunk_entries[chunk]
    return total


@compiled
def scatter(worker, workers, places, shift, histogram, tiles_x, entries):
    """Write every entry to its tile's range, in order of index."""
    count = places.shape[0] // L.PLACE
    for chunk in range(worker, histogram.shape[0], workers):
        for i in range(chunk << shift, min(count, (chunk + 1) << shift)):
            at = L.PLACE * i
            if places[at + L.PLACE_SLOT] < 0:
                continue
            columns, rows = places[at + L.PLACE_COLUMNS], places[at + L.PLACE_ROWS]
            key = np.int64(places[at + L.PLACE_DEPTH]) << 32 | i
            for ty in range((rows & 0xFFFF) >> L.TILE_SHIFT, (rows >> 16 >> L.TILE_SHIFT) + 1):
                for tx in range((columns & 0xFFFF) >> L.TILE_SHIFT, (columns >> 16 >> L.TILE_SHIFT) + 1):
                    tile = ty * tiles_x + tx
                    position = histogram[chunk, tile]
                    entries[position] = key
                    histogram[chunk, tile] = position + 1

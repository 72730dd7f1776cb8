"""Alpha compositing of a tile's Gaussians, front to back, sixteen pixels at a time.

A tile is sixteen blocks of 4 x 4 pixels, and the lanes of a vector are one block. A Gaussian visits only the
blocks that its extent reaches and that are not yet opaque; the tile ends when all are.
"""

import numpy as np

from geometry.compiled import compiled, inlined
from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.lanes import (
    LANES,
    element,
    exp2,
    lane_x,
    lane_y,
    load,
    negative,
    prefetch,
    select,
    some,
    splat,
    store,
)
from nvs.rasterizer.cpu.sorting import MOST_BUCKETS, sort_range, split
from nvs.rasterizer.settings import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN

F = np.float32
ZERO, HALF, ONE = F(0), F(0.5), F(1)
LOG_ALPHA_MIN, MOST_ALPHA = F(np.log2(ALPHA_MIN)), F(ALPHA_MAX)
LIGHT_MIN = F(TRANSMITTANCE_MIN)
UNREACHED = F(-128)

# Words of a block's state: transmittance, then the four output channels, sixteen lanes each. The
# transmittance of an opaque pixel is stored negative; a pixel outside the image starts opaque.
STATE = 5 * LANES
INDEX = 0xFFFFFFFF


@inlined
def reached_blocks(first_last, origin):
    """First and last of the tile's four block columns (or rows) in a packed pixel range."""
    first = max((first_last & 0xFFFF) - origin, 0)
    last = min((first_last >> 16) - origin, L.TILE - 1)
    return first >> 2, last >> 2


@inlined
def read_record(records, record_ints, at, x0, y0):
    """Mean from the first pixel's centre, conic and log opacity, features, packed columns and rows."""
    x, y = element(records, at + L.X) - F(x0) - HALF, element(records, at + L.Y) - F(y0) - HALF
    conic = element(records, at + L.XX), element(records, at + L.XY), element(records, at + L.YY)
    red, green = element(records, at + L.FEATURES), element(records, at + L.FEATURES + 1)
    blue, depth = element(records, at + L.FEATURES + 2), element(records, at + L.FEATURES + 3)
    shape = *conic, element(records, at + L.LOG_OPACITY)
    ranges = element(record_ints, at + L.COLUMNS), element(record_ints, at + L.ROWS)
    return x, y, shape, (red, green, blue, depth), ranges


@inlined
def exponents(x, y, shape):
    """Pixel offsets of the mean, and the base-2 logarithm of alpha in every lane; `UNREACHED` beyond it."""
    xx, xy, yy, log_opacity = shape
    dx, dy = x - lane_x(), y - lane_y()
    power = log_opacity - (dx * (xx * dx + xy * dy) + yy * dy * dy)
    return dx, dy, select(power <= log_opacity, power, UNREACHED)


@inlined
def opacities(power):
    """Alpha before it is cut off; 0 where it is under the threshold."""
    reached = power >= LOG_ALPHA_MIN
    return select(reached, exp2(select(reached, power, ZERO)), ZERO)


@inlined
def blend_block(state, at, x, y, shape, features):
    """Lay one Gaussian over one block; returns whether any pixel is not yet opaque."""
    _, _, power = exponents(x, y, shape)
    if not some(power >= LOG_ALPHA_MIN):
        return True
    light, alpha = load(state, at), opacities(power)
    alpha = select(alpha < MOST_ALPHA, alpha, MOST_ALPHA)
    left = light - light * alpha  # as it was where nothing is laid over a pixel, negative of an opaque one
    used = left > LIGHT_MIN
    weight = select(used, light * alpha, ZERO)
    for k in range(4):
        channel = at + (k + 1) * LANES
        store(state, channel, load(state, channel) + weight * features[k])
    light = select(used, left, negative(light))
    store(state, at, light)
    return some(light > ZERO)


@compiled
def start_tile(state, words, x0, y0, height, width):
    """Clear a tile's state; returns the set of blocks that have a pixel in the image, as bits."""
    live = 0
    for block in range(16):
        at = words * block
        for channel in range(1, words // LANES):
            store(state, at + channel * LANES, splat(ZERO))
        for lane in range(LANES):
            inside = (
                x0 + 4 * (block & 3) + (lane & 3) < width and y0 + 4 * (block >> 2) + (lane >> 2) < height
            )
            state[at + lane] = ONE if inside else -ONE
            if inside:
                live |= 1 << block
    return live


@compiled
def blend_tile(tile, tiles_x, height, width, records, record_ints, entries, order, offsets, state, starts):
    """Composite one tile into ``state``; returns how many of its entries were used.

    ``order`` receives the entries, nearest first as far as they were used.
    """
    x0, y0 = tile % tiles_x * L.TILE, tile // tiles_x * L.TILE
    live = start_tile(state, STATE, x0, y0, height, width)
    begin, end = offsets[tile], offsets[tile + 1]
    if begin == end:
        return 0
    buckets = split(entries, order, begin, end, starts)
    for k in range(starts[0], starts[1]):
        prefetch(records, L.RECORD * (order[k] & INDEX))
    for bucket in range(buckets):
        first, last = starts[bucket], starts[bucket + 1]
        if bucket + 1 < buckets:
            for k in range(last, min(starts[bucket + 2], last + 64)):
                prefetch(records, L.RECORD * (order[k] & INDEX))
        sort_range(order, entries, first, last)
        for k in range(first, last):
            at = L.RECORD * (order[k] & INDEX)
            x, y, shape, features, (columns, rows) = read_record(records, record_ints, at, x0, y0)
            left, right = reached_blocks(columns, x0)
            top, bottom = reached_blocks(rows, y0)
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    block = 4 * row + column
                    if live >> block & 1 and not blend_block(
                        state, STATE * block, x - F(4 * column), y - F(4 * row), shape, features
                    ):
                        live &= ~(1 << block)
            if live == 0:
                return k + 1 - begin
    return end - begin


@compiled
def blend(
    worker, workers,
    height, width, records, record_ints, entries, order, offsets, states, rgb, depth, alpha, used,
):  # fmt: skip
    """Composite this worker's tiles: colour over black, accumulated depth, alpha, and entries used.

    Tiles are dealt out in turn, so that a crowded corner of the image is shared.
    """
    tiles_x, tiles = (width + L.TILE - 1) // L.TILE, offsets.shape[0] - 1
    state = states[worker]
    starts = np.empty(MOST_BUCKETS + 2, np.int64)
    for tile in range(worker, tiles, workers):
        used[tile] = blend_tile(
            tile, tiles_x, height, width, records, record_ints, entries, order, offsets, state, starts,
        )  # fmt: skip
        x0, y0 = tile % tiles_x * L.TILE, tile // tiles_x * L.TILE
        for y in range(min(L.TILE, height - y0)):
            for x in range(min(L.TILE, width - x0)):
                at = STATE * (4 * (y >> 2) + (x >> 2)) + 4 * (y & 3) + (x & 3)
                rgb[0, y0 + y, x0 + x] = state[at + LANES]
                rgb[1, y0 + y, x0 + x] = state[at + 2 * LANES]
                rgb[2, y0 + y, x0 + x] = state[at + 3 * LANES]
                depth[y0 + y, x0 + x] = state[at + 4 * LANES]
                alpha[y0 + y, x0 + x] = ONE - abs(state[at])

"""Gradients of colours alone: the backward walk through a tile, without what shapes and depth need.

A picture is linear in its colours, so neither the loss behind a pixel nor the image is needed.
"""

import numpy as np

from geometry.compiled import compiled
from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.blending import (
    INDEX,
    LIGHT_MIN,
    LOG_ALPHA_MIN,
    MOST_ALPHA,
    exponents,
    opacities,
    reached_blocks,
    read_record,
    start_tile,
)
from nvs.rasterizer.cpu.blending_backward import AHEAD, place_of_tile
from nvs.rasterizer.cpu.lanes import (
    LANES,
    element,
    load,
    negative,
    prefetch,
    select,
    some,
    splat,
    store,
    sums,
)
from nvs.rasterizer.cpu.projection_backward import add_entries, put

F = np.float32
ZERO = F(0)

# Words of a block's state: transmittance, gradients of the three colours.
STATE = 4 * LANES


@compiled
def gather(
    worker, workers,
    height, width, records, record_ints, order, offsets, used, states, rgb_gradient,
    chunk_shift, chunk_slots, entry_sums, touched,
):  # fmt: skip
    """Sums of every entry of this worker's tiles, as `blend_backward`; of the colours only."""
    tiles_x, tiles = (width + L.TILE - 1) // L.TILE, offsets.shape[0] - 1
    state = states[worker]
    for tile in range(worker, tiles, workers):
        x0, y0 = tile % tiles_x * L.TILE, tile // tiles_x * L.TILE
        live = start_tile(state, STATE, x0, y0, height, width)
        for y in range(min(L.TILE, height - y0)):
            for x in range(min(L.TILE, width - x0)):
                at = STATE * (4 * (y >> 2) + (x >> 2)) + 4 * (y & 3) + (x & 3)
                for channel in range(3):
                    state[at + (channel + 1) * LANES] = rgb_gradient[channel, y0 + y, x0 + x]
        begin, end = offsets[tile], offsets[tile] + used[tile]
        for k in range(begin, end):
            if k + AHEAD < end:
                prefetch(records, L.RECORD * (order[k + AHEAD] & INDEX))
            index = order[k] & INDEX
            at = L.RECORD * index
            x, y, shape, _, (columns, rows) = read_record(records, record_ints, at, x0, y0)
            left, right = reached_blocks(columns, x0)
            top, bottom = reached_blocks(rows, y0)
            hit = False
            red = green = blue = splat(ZERO)
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    block = 4 * row + column
                    if not live >> block & 1:
                        continue
                    word = STATE * block
                    _, _, power = exponents(x - F(4 * column), y - F(4 * row), shape)
                    if not some(power >= LOG_ALPHA_MIN):
                        continue
                    hit = True
                    light, alpha = load(state, word), opacities(power)
                    alpha = select(alpha < MOST_ALPHA, alpha, MOST_ALPHA)
                    left_over = light - light * alpha
                    passed = left_over > LIGHT_MIN
                    weight = select(passed, light * alpha, ZERO)
                    red = red + weight * load(state, word + LANES)
                    green = green + weight * load(state, word + 2 * LANES)
                    blue = blue + weight * load(state, word + 3 * LANES)
                    light = select(passed, left_over, negative(light))
                    store(state, word, light)
                    if not some(light > ZERO):
                        live &= ~(1 << block)
            if hit:
                first = chunk_slots[index >> chunk_shift] + element(record_ints, at + L.SLOT)
                slot = first + place_of_tile(tile, tiles_x, columns, rows)
                touched[slot] = 1
                store(entry_sums, L.SUMS * slot, sums((red, green, blue)))


@compiled
def collect(
    worker, workers, count, chunk_shift, chunk_slots, places, entry_sums, touched, fresh, v_colors
):  # fmt: skip
    """Every Gaussian's sum over its entries, written if ``fresh`` and added to otherwise."""
    for chunk in range(worker, chunk_slots.shape[0], workers):
        total = np.zeros(L.SUMS, np.float32)
        for i in range(chunk << chunk_shift, min(count, (chunk + 1) << chunk_shift)):
            if places[L.PLACE * i + L.PLACE_SLOT] < 0 or not add_entries(
                places, i, chunk_slots[chunk], entry_sums, touched, total
            ):
                if fresh:
                    put(v_colors, 3 * i, (ZERO, ZERO, ZERO), True)
                continue
            put(v_colors, 3 * i, (total[0], total[1], total[2]), fresh)

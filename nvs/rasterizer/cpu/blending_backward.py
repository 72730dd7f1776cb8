"""Gradients of compositing: per entry (Gaussian in tile), sums over the tile's pixels.

The tile is walked front to back again. Each pixel carries its transmittance, as before, and ``behind``: the
loss still to come from farther Gaussians, which starts as the pixel's whole and loses each contribution as it
is passed. So transmittance is never recovered by division, and no intermediate image is stored.

With w = light * alpha and q = sum of channel gradients times the Gaussian's channels,
``d loss / d alpha = light * q - behind / (1 - alpha)``.
"""

import numpy as np

from geometry.compiled import compiled, inlined
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

F = np.float32
ZERO, HALF, ONE = F(0), F(0.5), F(1)
AHEAD = 16  # records fetched ahead of the one being used

# Words of a block's state: transmittance, loss behind, gradients of the four output channels.
STATE = 6 * LANES
BEHIND = LANES
GRADIENTS = 2 * LANES


@inlined
def place_of_tile(tile, tiles_x, columns, rows):
    """Where a tile comes among those that a Gaussian's pixel ranges reach."""
    first_x, last_x = (columns & 0xFFFF) >> L.TILE_SHIFT, columns >> 16 >> L.TILE_SHIFT
    first_y = (rows & 0xFFFF) >> L.TILE_SHIFT
    return (tile // tiles_x - first_y) * (last_x - first_x + 1) + tile % tiles_x - first_x


@compiled
def start_tile_backward(
    state, x0, y0, height, width, rgb, depth, alpha, rgb_gradient, depth_gradient, alpha_gradient
):
    """Fill a tile's state from the image and its gradients; returns its live blocks."""
    live = start_tile(state, STATE, x0, y0, height, width)
    for y in range(min(L.TILE, height - y0)):
        for x in range(min(L.TILE, width - x0)):
            at = STATE * (4 * (y >> 2) + (x >> 2)) + 4 * (y & 3) + (x & 3)
            behind = depth_gradient[y0 + y, x0 + x] * depth[y0 + y, x0 + x]
            for channel in range(3):
                gradient = rgb_gradient[channel, y0 + y, x0 + x]
                state[at + GRADIENTS + channel * LANES] = gradient
                behind += gradient * rgb[channel, y0 + y, x0 + x]
            state[at + GRADIENTS + 3 * LANES] = depth_gradient[y0 + y, x0 + x]
            # Alpha is 1 minus the final transmittance: what is behind everything has the value -1.
            state[at + BEHIND] = behind - alpha_gradient[y0 + y, x0 + x] * (ONE - alpha[y0 + y, x0 + x])
    return live


@compiled
def blend_tile_backward(
    tile, tiles_x, height, width, records, record_ints, order, begin, end, live, state,
    chunk_shift, chunk_slots, entry_sums, touched,
):  # fmt: skip
    """Walk one tile's used entries and store their sums, each in its own slot."""
    tile_x, tile_y = tile % tiles_x, tile // tiles_x
    x0, y0 = tile_x * L.TILE, tile_y * L.TILE
    for k in range(begin, end):
        if k + AHEAD < end:
            prefetch(records, L.RECORD * (order[k + AHEAD] & INDEX))
        index = order[k] & INDEX
        at = L.RECORD * index
        x, y, shape, (red, green, blue, depth), (columns, rows) = read_record(
            records, record_ints, at, x0, y0
        )
        left, right = reached_blocks(columns, x0)
        top, bottom = reached_blocks(rows, y0)
        hit = False
        v = v_x = v_y = v_xx = v_xy = v_yy = splat(ZERO)
        v_red = v_green = v_blue = v_depth = splat(ZERO)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                block = 4 * row + column
                if not live >> block & 1:
                    continue
                word = STATE * block
                dx, dy, power = exponents(x - F(4 * column), y - F(4 * row), shape)
                reached = power >= LOG_ALPHA_MIN
                if not some(reached):
                    continue
                hit = True
                light, raw = load(state, word), opacities(power)
                alpha = select(raw < MOST_ALPHA, raw, MOST_ALPHA)
                remains = ONE - alpha
                left_over = light - light * alpha
                used = left_over > LIGHT_MIN
                weight = select(used, light * alpha, ZERO)
                g_red, g_green = load(state, word + GRADIENTS), load(state, word + GRADIENTS + LANES)
                g_blue = load(state, word + GRADIENTS + 2 * LANES)
                g_depth = load(state, word + GRADIENTS + 3 * LANES)
                q = g_red * red + g_green * green + g_blue * blue + g_depth * depth
                behind = load(state, word + BEHIND) - weight * q
                store(state, word + BEHIND, behind)
                one = select(used, alpha * (light * q - behind / remains), ZERO)
                # Where alpha is cut off, it no longer depends on the Gaussian's shape and opacity.
                one = select(raw <= MOST_ALPHA, one, ZERO)
                one = select(reached, one, ZERO)
                one_x, one_y = one * dx, one * dy
                v, v_x, v_y = v + one, v_x + one_x, v_y + one_y
                v_xx, v_xy, v_yy = v_xx + one_x * dx, v_xy + one_x * dy, v_yy + one_y * dy
                v_red, v_green = v_red + weight * g_red, v_green + weight * g_green
                v_blue, v_depth = v_blue + weight * g_blue, v_depth + weight * g_depth
                light = select(used, left_over, negative(light))
                store(state, word, light)
                if not some(light > ZERO):
                    live &= ~(1 << block)
        if hit:
            first = chunk_slots[index >> chunk_shift] + element(record_ints, at + L.SLOT)
            slot = first + place_of_tile(tile, tiles_x, columns, rows)
            touched[slot] = 1
            store(
                entry_sums,
                L.SUMS * slot,
                sums((v, v_x, v_y, v_xx, v_xy, v_yy, v_red, v_green, v_blue, v_depth)),
            )


@compiled
def blend_backward(
    worker, workers,
    height, width, records, record_ints, order, offsets, used, states,
    rgb, depth, alpha, rgb_gradient, depth_gradient, alpha_gradient,
    chunk_shift, chunk_slots, entry_sums, touched,
):  # fmt: skip
    """Sums of every entry of this worker's tiles that any pixel used.

    ``touched`` comes zeroed and marks their slots; the other slots of ``entry_sums`` stay as they are.
    """
    tiles_x, tiles = (width + L.TILE - 1) // L.TILE, offsets.shape[0] - 1
    state = states[worker]
    for tile in range(worker, tiles, workers):
        live = start_tile_backward(
            state, tile % tiles_x * L.TILE, tile // tiles_x * L.TILE, height, width,
            rgb, depth, alpha, rgb_gradient, depth_gradient, alpha_gradient,
        )  # fmt: skip
        blend_tile_backward(
            tile, tiles_x, height, width, records, record_ints, order,
            offsets[tile], offsets[tile] + used[tile], live, state,
            chunk_shift, chunk_slots, entry_sums, touched,
        )  # fmt: skip

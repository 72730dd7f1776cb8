"""Where each number lies in the flat arrays that the kernels pass to each other.

A record is what blending reads of one Gaussian in one view: one cache line of sixteen 4-byte words, some
float32 and some int32. A place is the short list that binning reads instead. Pixel ranges pack their
first and last column (or row) as ``first | last << 16``.
"""

import numpy as np

TILE = 16  # pixels on a side
TILE_SHIFT = 4

RECORD = 16
X, Y = 0, 1  # pixel position of the mean
XX, XY, YY = 2, 3, 4  # base-2 exponent: XX dx^2 + XY dx dy + YY dy^2
LOG_OPACITY = 5  # base 2
COLUMNS, ROWS = 6, 7  # int: pixel ranges outside which alpha is below its threshold
FEATURES = 8  # red, green, blue, depth
SLOT = 12  # int: see PLACE_SLOT

PLACE = 4  # ints
PLACE_COLUMNS, PLACE_ROWS = 0, 1
PLACE_SLOT = 2  # number of the first of this Gaussian's tile entries in its chunk; -1 if it is not seen
PLACE_DEPTH = 3  # bits of the float32 depth

CAMERA = 19  # world-to-camera rotation by rows, translation, fx, fy, cx, cy, camera centre
FX, FY, CX, CY, CENTRE = 12, 13, 14, 15, 16

# Sums over the pixels of a tile, per entry: v = (d loss / d alpha) * alpha, times powers of dx, dy; then
# weight times the gradient of each output channel.
SUMS = 16  # as many as lanes
V, VX, VY, VXX, VXY, VYY, VFEATURES = 0, 1, 2, 3, 4, 5, 6

LOG2_E = np.float32(1.4426950408889634)

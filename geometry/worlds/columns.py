"""Where a number stands in the rows of a world's tables."""

# `World.materials`
TEXTURE_SCALE = 0  # texture tiles per metre
SPECULAR = 1  # strength of the highlight
GLOSS = 2  # exponent of the highlight
EMISSION = 3  # radiance added, times the colour
BUMP = 4  # strength of the normal map
MACRO = 5  # strength of the slow variation that hides the tiling
DETAIL = 6  # strength of the fine grain that remains when a texture is seen from near
MIRROR = 7  # share of the reflected ray

# `World.lights`: kind, then direction to the light or its position, colour, radius.
SUN, LAMP = 0, 1

# `World.air`
AMBIENT_UP, AMBIENT_DOWN, FOG, FOG_DENSITY, EXPOSURE, OCCLUSION = 0, 3, 6, 9, 10, 11

# `kernel.Arrays.primitives`
CENTRE, ROTATION, HALF, UV, TINT, KIND, MATERIAL, CASTS_SHADOW, SHAPE = 0, 3, 12, 15, 19, 22, 23, 24, 25

"""Pictures of what was computed: coloured depth and confidence, contact sheets, videos."""

from geometry.visualize.colour import colour_confidence, colour_depth, depth_limits
from geometry.visualize.image import depth_unit, even_padded, to_bytes, write_depth, write_image
from geometry.visualize.sheet import MOST, contact_sheet, images_per_line, spread
from geometry.visualize.video import VideoWriter

__all__ = [
    "MOST", "VideoWriter", "colour_confidence", "colour_depth", "contact_sheet", "depth_limits",
    "depth_unit", "even_padded", "images_per_line", "spread", "to_bytes", "write_depth", "write_image",
]  # fmt: skip

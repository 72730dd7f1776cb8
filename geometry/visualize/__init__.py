"""Pictures of what was computed: coloured depth and confidence, contact sheets, videos."""

from geometry.visualize.colour import colour_confidence, colour_depth, depth_limits
from geometry.visualize.image import even_padded, side_by_side, to_bytes, write_image
from geometry.visualize.sheet import contact_sheet
from geometry.visualize.video import VideoWriter, write_video

__all__ = [
    "VideoWriter",
    "colour_confidence",
    "colour_depth",
    "contact_sheet",
    "depth_limits",
    "even_padded",
    "side_by_side",
    "to_bytes",
    "write_image",
    "write_video",
]

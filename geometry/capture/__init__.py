"""Photos on their way to a network: opened, chosen, given cameras, prepared."""

from geometry.capture.capture import MAX_VIEWS, Capture, load_views, most_views, open_capture, show_views
from geometry.capture.find_cameras import check_choice, find_cameras
from geometry.capture.given import open_given
from geometry.capture.place import place_by_network
from geometry.capture.scale import Scale, find_scale
from geometry.options import CAMERAS

__all__ = [
    "CAMERAS", "MAX_VIEWS", "Capture", "Scale", "check_choice", "find_cameras", "find_scale", "load_views",
    "most_views", "open_capture", "open_given", "place_by_network", "show_views",
]  # fmt: skip

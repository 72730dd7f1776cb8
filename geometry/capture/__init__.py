"""Photos on their way to a network: opened, chosen, given cameras, prepared."""

from geometry.capture.capture import MAX_VIEWS, Capture, load_views, open_capture
from geometry.capture.find_cameras import CAMERAS, check_choice, find_cameras

__all__ = ["CAMERAS", "MAX_VIEWS", "Capture", "check_choice", "find_cameras", "load_views", "open_capture"]

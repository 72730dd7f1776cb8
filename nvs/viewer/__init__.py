"""Gaussians, photos and cameras in the browser, drawn by viser: to look, to crop, to measure, to film."""

from nvs.viewer.server import serve
from nvs.viewer.tools import most_visible

__all__ = ["most_visible", "serve"]

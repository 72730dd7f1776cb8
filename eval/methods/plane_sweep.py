"""The plane sweep that the per-scene reference starts from; it lives in `nvs`, where rendering uses it."""

from nvs.plane_sweep import SweptDepth, depth_limits, plane_sweep

__all__ = ["SweptDepth", "depth_limits", "plane_sweep"]

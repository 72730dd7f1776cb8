"""Depth of posed photos by multi-view stereo: plane sweep, semi-global smoothing, agreement of views.

`sweep_depth` is the whole of it; the other files are its steps in order.
"""

from nvs.stereo.depth import StereoDepth, sweep_depth

__all__ = ["StereoDepth", "sweep_depth"]

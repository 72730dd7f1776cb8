"""Depth of posed photos by multi-view stereo: plane sweep, semi-global smoothing, agreement of views.

`sweep_depth` is the whole of it; the other files are its steps in order. `StereoDepth` places
Gaussians by it.
"""

from nvs.stereo.depth import SWEEP_SPACING, StereoDepth, SweptDepth, sweep_depth

__all__ = ["SWEEP_SPACING", "StereoDepth", "SweptDepth", "sweep_depth"]

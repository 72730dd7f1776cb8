"""The procedural world: scenes from a seed with exact depth, cameras and masks."""

from geometry.data.procedural.cameras import sample_cameras
from geometry.data.procedural.dataset import ProceduralDataset
from geometry.data.procedural.rendering import WorldViews, render
from geometry.data.procedural.scene import Scene
from geometry.data.procedural.world import KINDS
from geometry.data.procedural.world import procedural_world as ProceduralWorld

__all__ = ["KINDS", "ProceduralDataset", "ProceduralWorld", "Scene", "WorldViews", "render", "sample_cameras"]

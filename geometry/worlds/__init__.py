"""The procedural world: scenes from a seed with exact depth, cameras and masks."""

from geometry.worlds.cameras import sample_cameras
from geometry.worlds.dataset import ProceduralDataset
from geometry.worlds.rendering import WorldViews, render
from geometry.worlds.scene import Scene
from geometry.worlds.world import KINDS
from geometry.worlds.world import procedural_world as ProceduralWorld

__all__ = ["KINDS", "ProceduralDataset", "ProceduralWorld", "Scene", "WorldViews", "render", "sample_cameras"]

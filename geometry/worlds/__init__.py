"""The procedural world: rooms, objects and streets from a seed, with exact depth, cameras and masks."""

from geometry.worlds.cameras import sample_cameras
from geometry.worlds.dataset import ProceduralDataset
from geometry.worlds.generate import KINDS, procedural_world
from geometry.worlds.rendering import WorldViews, render
from geometry.worlds.world import World

__all__ = [
    "KINDS",
    "ProceduralDataset",
    "World",
    "WorldViews",
    "procedural_world",
    "render",
    "sample_cameras",
]

"""Any number of photos through the network: in overlapping chunks, which are then joined into one world.

Top to bottom in `whole.reconstruct`: the photos' order and where it is cut (`cut`), a pass of the network for
each chunk (`passes`), how neighbours lie to each other (`align`), places that were met again (`loops`), one
similarity for each chunk that agrees best with all of that (`graph`).
"""

from geometry.chunks.captured import Placed, place_in_chunks, too_many, work_folder, working_in
from geometry.chunks.whole import Reconstruction, reconstruct

__all__ = [
    "Placed", "Reconstruction", "place_in_chunks", "reconstruct", "too_many", "work_folder", "working_in",
]  # fmt: skip

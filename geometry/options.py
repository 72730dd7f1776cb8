"""What commands, the Python API, fine-tuning and benchmarks let people choose, as records with defaults.

Commands parse into them, and nothing below `geometry.commands` knows a command line.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """Which photos and cameras are taken, and at which size.

    Args:
        poses: a transforms.json or a COLMAP model's folder; None looks beside the photos.
        unposed: ignore all poses.
        pose_check: refuse poses that contradict themselves.
        context: how many photos are input; None takes as many as ``max_views`` says.
        max_views: how many photos the network takes at most; None: `geometry.capture.MAX_VIEWS`.
        holdout: every Nth photo is kept out of the input; None keeps none.
        process_res: pixels of the longest side of the images that the network sees.
        released_crop: photos of mixed sizes are all cut to the smallest, as the released code does.
    """

    poses: str | Path | None = None
    unposed: bool = False
    pose_check: bool = True
    context: int | None = None
    max_views: int | None = None
    holdout: int | None = None
    process_res: int = 504
    released_crop: bool = False


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """How a network runs.

    Args:
        reference: how the reference view of unposed photos is chosen (`geometry.models.reference_view`).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the backbone; heads are always float32. ``auto`` is bfloat16 on CUDA, float32 on CPU.
        chunk: views that the dense heads take at a time.
    """

    reference: str = "saddle_balanced"
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    chunk: int = 8

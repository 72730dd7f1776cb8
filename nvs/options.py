"""What commands, the Python API, fine-tuning and benchmarks let people choose about Gaussians and views."""

from dataclasses import dataclass
from typing import Literal

from geometry.errors import InputError
from geometry.options import require_one_of

DEPTHS = ("auto", "network", "sweep")
QUALITIES = ("draft", "good", "best")
BACKGROUNDS = ("mean", "black", "white")
WORLDS = ("opencv", "y-up")


@dataclass(frozen=True, kw_only=True)
class GaussianOptions:
    """How photos become Gaussians.

    Args:
        depth: where they lie: at the ``network``'s depth, or, for photos with cameras, at that of a plane
            ``sweep``; ``auto`` sweeps where cameras are known and the network is weak.
        spacing: pixels of the network's images from one Gaussian to the next; None: 1, 2 with swept depth, 4
            where they are refined, and wider where photos are many.
        prune: leave out border, far and transparent Gaussians.
        quality: ``draft`` is one feed-forward pass; ``good`` optimises the Gaussians on the photos for at
            most some 4 minutes, ``best`` for at most some 20 (`nvs.refine.plan`).
        minutes: from the first photo read to the last step of optimisation, instead of the quality's.
        refine: gradient steps on the photos, instead of what quality and minutes come to; 0 is a draft. The
            same number gives the same Gaussians, on whatever machine time was short.
        refine_cameras: optimise the photos' poses with them.
        seed: of every random choice.
        backend: of the rasterizer: auto, cuda, cpu or torch.
    """

    depth: Literal["auto", "network", "sweep"] = "auto"
    spacing: float | None = None
    prune: bool = True
    quality: Literal["draft", "good", "best"] = "good"
    minutes: float | None = None
    refine: int | None = None
    refine_cameras: bool = False
    seed: int = 0
    backend: str = "auto"

    def __post_init__(self) -> None:
        require_one_of("depth", self.depth, DEPTHS)
        if self.spacing is not None and not self.spacing >= 1:
            raise InputError(f"spacing: expected a number from 1 on, got {self.spacing}")
        require_one_of("quality", self.quality, QUALITIES)
        if self.refine is not None and self.refine < 0:
            raise InputError(f"refine: expected 0 steps or more, got {self.refine}")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes: expected more than 0, got {self.minutes}")

    @property
    def refines(self) -> bool:
        """Whether the Gaussians are optimised at all."""
        if self.refine is not None:
            return self.refine > 0
        return self.quality != "draft" or self.minutes is not None


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Which novel views are rendered.

    Args:
        path: a camera path of `nvs.cameras.PATHS`, or a file of cameras; None is ``spline``, for one photo
            ``wander``.
        frames: of the paths ``orbit`` and ``spline``; other paths have a number of their own.
        fps: frames per second of the video.
        size: (H, W); None keeps the photos' shape, with a long side of 960 for the video and of 480 where
            photos are refined on or compared.
        background: colour where no Gaussian is: ``mean`` of the photos, ``black`` or ``white``.
        world: frame of every file written: ``opencv`` is the cameras' own, ``y-up`` is turned for viewers
            that expect it.
    """

    path: str | None = None
    frames: int = 120
    fps: int = 24
    size: tuple[int, int] | None = None
    background: Literal["mean", "black", "white"] = "mean"
    world: Literal["opencv", "y-up"] = "opencv"

    def __post_init__(self) -> None:
        require_one_of("background", self.background, BACKGROUNDS)
        require_one_of("world", self.world, WORLDS)

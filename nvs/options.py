"""What commands, the Python API, fine-tuning and benchmarks let people choose about Gaussians and views."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from geometry.errors import InputError
from geometry.options import NetworkOptions, PhotoOptions, require_one_of

DEPTHS = ("auto", "network", "sweep", "stereo")
QUALITIES = ("draft", "good", "best")
WORLDS = ("opencv", "y-up")
BACKENDS = ("auto", "cuda", "cpu", "torch")  # of the rasterizer
METRICS = ("psnr", "ssim", "lpips_vgg", "lpips_alex")
PATHS = ("original", "smooth", "interpolate", "interpolate_smooth", "extend", "wander", "dolly_zoom")
PATHS += ("wobble_inter", "orbit", "spline")  # of the camera; all but the last two are the released ones
LONG_SIDE = 480  # at which photos are refined on and compared, unless a size is asked for
VIDEO_SIDE = 960  # of the video's frames, unless a size is asked for
LPIPS_WEIGHT = 0.05  # DepthSplat's, as in `GaussianObjective`
MAX_GAUSSIANS = 1_000_000  # that the viewer shows
# Splat files of `nvs export` with their endings, and captures for other tools.
SPLATS = {
    "ply": ".ply",
    "compressed-ply": ".compressed.ply",
    "spz": ".spz",
    "sog": ".sog",
    "splat": ".splat",
    "glb": ".glb",
    "html": ".html",
}
CAPTURES = ("colmap", "nerfstudio")


@dataclass(frozen=True, kw_only=True)
class GaussianOptions:
    """How photos become Gaussians.

    Args:
        depth: where they lie: at the ``network``'s depth, or, for photos with cameras, at that of a plane
            sweep, read by a small network of its own (``stereo``) or by classical means alone (``sweep``);
            ``auto`` is ``stereo`` where cameras are known and the network is weak.
        spacing: pixels of the network's images from one Gaussian to the next; None: 1, 2 with swept depth,
            wider where photos are many, and a sample of those 2 apart where they are refined (`nvs.seeds`).
        prune: leave out border, far and transparent Gaussians, and, with swept depth, make transparent what
            other photos disagree with (`nvs.agreement`).
        gaussians: at most so many; more are merged (`nvs.fusion`), in the middle of any refinement.
        compression: merge them to so many times fewer, instead.
        quality: ``draft`` is one feed-forward pass; ``good`` optimises the Gaussians on the photos for at
            most some 4 minutes, ``best`` for at most some 20 (`nvs.refine.plan`).
        minutes: from the first photo read to the last step of optimisation, instead of the quality's.
        refine: gradient steps on the photos, instead of what quality and minutes come to; 0 is a draft. The
            same number gives the same Gaussians, on whatever machine time was short.
        refine_cameras: optimise the photos' poses with them.
        exposure: estimate exposure and white balance of each photo that is refined on.
        moving: find what moved between the photos and leave it out (`nvs.refine.moving`); twice the time.
        seed: of every random choice.
        backend: of the rasterizer: auto, cuda, cpu or torch.
    """

    depth: Literal["auto", "network", "sweep", "stereo"] = "auto"
    spacing: float | None = None
    prune: bool = True
    gaussians: int | None = None
    compression: float | None = None
    quality: Literal["draft", "good", "best"] = "good"
    minutes: float | None = None
    refine: int | None = None
    refine_cameras: bool = False
    exposure: bool = False
    moving: bool = False
    seed: int = 0
    backend: str = "auto"

    def __post_init__(self) -> None:
        require_one_of("depth", self.depth, DEPTHS)
        if self.spacing is not None and not self.spacing >= 1:
            raise InputError(f"spacing: expected a number from 1 on, got {self.spacing}")
        if self.gaussians is not None and self.gaussians < 1:
            raise InputError(f"gaussians: expected 1 or more, got {self.gaussians}")
        if self.compression is not None and not self.compression >= 1:
            raise InputError(f"compression: expected a number from 1 on, got {self.compression}")
        if self.gaussians is not None and self.compression is not None:
            raise InputError("expected gaussians or compression, got both")
        require_one_of("quality", self.quality, QUALITIES)
        if self.refine is not None and self.refine < 0:
            raise InputError(f"refine: expected 0 steps or more, got {self.refine}")
        if self.moving and not self.refines:
            raise InputError("moving: expected refinement, in which it is found; got a draft")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes: expected more than 0, got {self.minutes}")

    def budget(self, count: int) -> int:
        """How many are to be left of so many Gaussians."""
        if self.compression is not None:
            return max(1, round(count / self.compression))
        return count if self.gaussians is None else min(count, self.gaussians)

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
        world: frame of every file written: ``opencv`` is the cameras' own, ``y-up`` is turned for viewers
            that expect it.
    """

    path: str | None = None
    frames: int = 120
    fps: int = 24
    size: tuple[int, int] | None = None
    world: Literal["opencv", "y-up"] = "opencv"

    def __post_init__(self) -> None:
        require_one_of("world", self.world, WORLDS)


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Everything that can be chosen about a rendering.

    Args:
        model: weights: a size, a hub id, a folder or a file (`geometry.weights`).
    """

    model: str = "tiny"
    photos: PhotoOptions = field(default_factory=PhotoOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    gaussians: GaussianOptions = field(default_factory=GaussianOptions)
    views: ViewOptions = field(default_factory=ViewOptions)

    def __post_init__(self) -> None:
        path, holdout = self.views.path, self.photos.holdout
        if path and path not in PATHS and not Path(path).is_file():
            raise InputError(f"--path {path}: neither a file of cameras nor one of {', '.join(PATHS)}")
        if holdout and holdout < 2:
            raise InputError(f"--holdout {holdout}: expected 2 or more, so that photos remain as input")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How a head is fine-tuned; `default_options` fits the numbers to a device."""

    model: str = "tiny"
    # ``context`` photos are given in a step; every ``holdout``-th is held out for validation.
    photos: PhotoOptions = field(default_factory=lambda: PhotoOptions(context=12, holdout=8))
    network: NetworkOptions = field(default_factory=lambda: NetworkOptions(chunk=4))
    steps: int = 2000  # updates
    lr: float | None = None  # peak learning rate; None: 1e-3 for a new head, 1e-4 for a trained one
    targets: int = 4  # photos rendered in a step
    flavour: str | None = None  # of a new head: ``rgb`` (plain colour), ``sh`` (harmonics and offsets)
    depth: str = "auto"  # as `GaussianOptions.depth`
    new_head: bool = False  # start a new head even if the model has one
    backbone_factor: float = 0.0  # also train the backbone, at this factor on the learning rate; 0 freezes
    lpips: float | None = None  # weight of LPIPS; None: `LPIPS_WEIGHT` where its trunk is here, else 0
    context_sets: int = 16  # sets of context photos that the steps choose from
    cache_gb: float = 4.0  # features of the frozen backbone that are kept, 1e9 bytes
    validate_every: int | None = None  # steps; None: a tenth of them
    patience: int = 3  # so many validations on end without a better one end the run
    opacity: float = 0.0  # weights of the regularisers of `GaussianObjective`
    size: float = 0.0
    seed: int = 0

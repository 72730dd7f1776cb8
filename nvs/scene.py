"""What photos became: Gaussians, the cameras and depth of the photos, in one world."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.capture import Scale
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians, Rendering, sh_to_rgb
from nvs.model.pooling import resize_cameras
from nvs.rasterizer import rasterize
from nvs.refine import Refined


@dataclass(frozen=True, kw_only=True)
class SplatScene:
    """Gaussians of one scene, and what they were made from.

    The world is that of the given cameras where the photos had some, else the reference photo's axes at its
    place (x right, y down, z forward).
    """

    gaussians: Gaussians
    views: Views  # the photos as the network saw them, [1, V, 3, H, W], with cameras in the Gaussians' world
    seeds: tuple[int, ...]  # views that became Gaussians, in their order; refinement uses all
    seed_depth: Float[Tensor, "1 S h w"]  # their z-depth, on the Gaussians' grid
    depth_kind: str  # network, sweep or stereo
    background: Float[Tensor, " 3"]  # colour where no Gaussian is
    trusted: float | None = None  # share of swept depth that the photos agree on, 0..1; None: not swept
    agreed: Bool[Tensor, "1 S y x"] | None = None  # where they do, of the seeds; on the grid of the sweep
    refined: Refined | None = None
    names: tuple[str, ...] = ()  # of the photos, where they have any
    origin: tuple[float, ...] = (0.0, 0.0, 0.0)  # of this world in that of the given cameras
    backend: str = "auto"
    scale: Scale | None = None  # what fixes it, and whether it is metres

    @property
    def cameras(self) -> Cameras:
        """Of the photos, for images of ``image_size``."""
        assert self.views.cameras is not None
        return self.views.cameras

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the photos as the network saw them."""
        return self.views.image_size

    @cached_property
    def depth(self) -> Float[Tensor, "1 V h w"]:
        """z-depth of all photos: the seeds' own, and of others what the Gaussians show (0: nothing)."""
        V, (h, w) = self.views.images.shape[1], self.seed_depth.shape[-2:]
        if len(self.seeds) == V:
            return self.seed_depth
        depth = self.seed_depth.new_empty(1, V, h, w)
        depth[:, list(self.seeds)] = self.seed_depth
        cameras = resize_cameras(self.cameras, self.image_size, (h, w))
        for v in {*range(V)} - {*self.seeds}:
            drawn = self.render(cameras[:, v : v + 1], (h, w))
            depth[:, v] = torch.where(drawn.alpha > 0.5, drawn.depth, 0.0)[:, 0]
        return depth

    @torch.no_grad()
    def render(self, cameras: Cameras, size: tuple[int, int] | None = None) -> Rendering:
        """Colour, z-depth and alpha at cameras [1, V, ...] in the scene's world.

        Args:
            size: (H, W) to which the cameras' intrinsics refer; None is that of the photos.
        """
        size = size or self.image_size
        return rasterize(self.gaussians, cameras, size, background=self.background, backend=self.backend)

    def save(self, path: str | Path) -> None:
        """Write the Gaussians; the suffix names the format (`nvs.gaussians.files`)."""
        self.gaussians.save(path)

    def points(self, *, min_opacity: float = 0.5) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
        """Centres of the Gaussians that are at least so opaque, and their colours in 0..1."""
        g = self.gaussians[:, self.gaussians.opacities[0] >= min_opacity]
        return g.means[0], sh_to_rgb(g.sh[0, :, 0]).clamp(0, 1)

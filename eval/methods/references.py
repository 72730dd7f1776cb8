"""References to compare scores with: mean colour, nearest view, and that view warped."""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About, Pictured, Task
from geometry.ops.pinhole import unproject
from geometry.scenes.view_selection import pose_distances
from geometry.views import Views
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize
from nvs.stereo import StereoDepth

_NONE = "no weights"


@runtime_checkable
class DepthSource(Protocol):
    """z-depth of a task's context in the given cameras' world, at a size of its own choice."""

    about: About

    def depth(self, task: Task) -> Float[Tensor, "1 V h w"]: ...


class Swept:
    """Depth with no network: a plane sweep between the given poses, by settings of `StereoDepth`."""

    def __init__(self, **settings: Any) -> None:
        self._stereo = StereoDepth(**settings)
        self.about = About(name="plane sweep", weights=_NONE, licence="-", identity={"sweep": settings})

    def depth(self, task: Task) -> Float[Tensor, "1 V h w"]:
        return self._stereo.sweep(task.photos).depth


class MeanColour:
    """Every target is the mean colour of the context photos."""

    given_poses = "unused"
    about = About(name="mean colour", weights=_NONE, licence="-")

    def predict(self, task: Task) -> Pictured:
        colour = task.photos.images[0].mean(dim=(0, 2, 3))
        image = colour[:, None, None].expand(3, *task.size)
        return Pictured(render=lambda target: (image, None))


class NearestView:
    """Every target is the context photo whose given pose is nearest, by `pose_distances`."""

    given_poses = "unused"  # given poses choose the photo, whatever places the targets of others
    about = About(name="nearest context view", weights=_NONE, licence="-")

    def predict(self, task: Task) -> Pictured:
        nearest = nearest_views(task)
        return Pictured(
            render=lambda target: (task.photos.images[0, nearest[target]], None), notes={"nearest": nearest}
        )


class WarpedView:
    """The nearest context photo, moved to the target by its own depth.

    Each pixel is a small opaque blob on the surface, as wide as the pixel is there; what the photo does not
    show takes its mean colour.
    """

    given_poses = "needed"

    def __init__(self, depth: DepthSource, *, backend: str = "auto") -> None:
        self._depth, self._backend = depth, backend
        self.about = replace(depth.about, name=f"nearest view warped, depth of {depth.about.name}")

    def predict(self, task: Task) -> Pictured:
        photos = task.photos
        # Colours keep the photo's resolution; a mean of depths across an edge would float between the
        # surfaces.
        depth = F.interpolate(self._depth.depth(task), size=task.size, mode="nearest-exact")
        nearest = nearest_views(task)

        def render(target: int) -> tuple[Tensor, Tensor]:
            view = slice(nearest[target], nearest[target] + 1)
            image = photos.images[:, view]
            surface = surface_gaussians(Views(images=image, cameras=photos.cameras[:, view]), depth[:, view])
            camera = task.targets[:, target : target + 1]
            colour = image.mean(dim=(-1, -2))
            seen = rasterize(surface, camera, task.size, background=colour, backend=self._backend)
            return seen.rgb[0, 0], seen.depth[0, 0]

        return Pictured(render=render, notes={"nearest": nearest})


def nearest_views(task: Task) -> list[int]:
    """For each target the context view whose given pose is nearest."""
    context = task.photos.cameras.extrinsics[0].double().cpu().numpy()
    targets = task.targets.extrinsics[0].double().cpu().numpy()
    distances = pose_distances(np.concatenate((context, targets)))[len(context) :, : len(context)]
    return distances.argmin(axis=1).tolist()


def surface_gaussians(views: Views, depth: Float[Tensor, "B V H W"], *, width: float = 0.6) -> Gaussians:
    """One opaque round Gaussian of its pixel's colour at every pixel's place on the surface.

    Args:
        width: standard deviation over the pixel's width at its depth; at 0.6 neighbours leave no gaps.
    """
    B, V, H, W = depth.shape
    means = unproject(depth, views.cameras).reshape(B, -1, 3)
    focal = views.cameras.intrinsics[..., 0, 0][..., None, None]
    scales = (width * depth / focal).reshape(B, -1, 1).expand(-1, -1, 3).clamp(min=1e-9)
    quats = torch.zeros(B, V * H * W, 4, device=depth.device, dtype=depth.dtype)
    quats[..., 0] = 1
    colours = views.images.movedim(2, -1).reshape(B, -1, 1, 3)
    return Gaussians(
        means=means,
        quats=quats,
        scales=scales.contiguous(),
        opacities=torch.full_like(scales[..., 0], 0.99),
        sh=rgb_to_sh(colours),
    )

"""Depth of the context photos with no network: a plane sweep between the given poses."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import About, Task
from geometry.errors import InputError
from geometry.ops.images import resize_images
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras, Views
from nvs.plane_sweep import SweptDepth, plane_sweep


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Settings of a sweep over a task's context photos.

    Args:
        factor: the sweep runs on photos of the targets' size over this.
        planes, neighbours, window, min_score: as `plane_sweep` takes them.
    """

    factor: float = 2.0
    planes: int = 96
    neighbours: int = 4
    window: int = 7
    min_score: float = 0.5

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise InputError(f"sweep.factor: expected at least 1, got {self.factor}")

    @property
    def about(self) -> About:
        """No weights; the settings are all that its depth depends on."""
        return About(name="plane sweep", weights="no weights", licence="-", identity={"sweep": asdict(self)})

    def swept(self, task: Task) -> tuple[Views, SweptDepth]:
        """The photos at the size of the sweep, with their given cameras, and their depth."""
        size = tuple(max(8, round(side / self.factor)) for side in task.size)
        cameras = Cameras(
            extrinsics=task.photos.cameras.extrinsics,
            intrinsics=resize_intrinsics(task.photos.cameras.intrinsics, task.size, size),
        )
        views = Views(images=resize_images(task.photos.images, size), cameras=cameras)
        settings = asdict(self)
        settings.pop("factor")
        return views, plane_sweep(views, **settings)

    def depth(self, task: Task) -> Float[Tensor, "1 V h w"]:
        """z-depth of every pixel of the context, filled in where the sweep is not trusted."""
        return filled_depth(self.swept(task)[1])


def filled_depth(swept: SweptDepth) -> Float[Tensor, "1 V H W"]:
    """Depth, and where it is not trusted the weighted mean inverse depth of trusted pixels around.

    Averages over windows that double: near pixels decide where there are some, far ones else.
    """
    inverse = (1 / swept.depth).flatten(0, 1)[:, None]
    weight = swept.trusted.flatten(0, 1)[:, None] * swept.score.flatten(0, 1)[:, None].clamp(min=0.01)
    total = inverse * weight
    filled, known = inverse, weight > 0  # a view in which nothing is trusted keeps its best guess
    window = 5
    while not known.all() and window < 4 * max(inverse.shape[-2:]):
        pad = [window // 2] * 4
        values = F.avg_pool2d(F.pad(total, pad), window, stride=1)
        norms = F.avg_pool2d(F.pad(weight, pad), window, stride=1)
        reached = ~known & (norms > 0.02 / window)
        filled = torch.where(reached, values / norms.clamp(min=1e-12), filled)
        known = known | reached
        window = 2 * window + 1
    return (1 / filled.clamp(min=1e-9))[:, 0].unflatten(0, swept.depth.shape[:2])

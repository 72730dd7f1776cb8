"""Where targets are rendered from: the three pose modes, which a table never mixes.

- ``gt``: context and targets at their given poses, the published table's own mode.
- ``umeyama``: the context comes without cameras; the similarity between its given and its predicted camera
  centres carries the targets' given poses into the predicted world.
- ``photometric``: from there each target's pose is optimised until the rendering of the fixed Gaussians looks
  like the target photo. It uses the target photo, so it measures the Gaussians apart from the poses; its
  scores compare with those of no other mode.

Intrinsics are the given ones in every mode.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eval.methods.base import Splatted, Task
from geometry.errors import InputError
from geometry.ops.align import DegenerateAlignment
from geometry.ops.pinhole import resize_intrinsics
from geometry.views import Cameras
from nvs.cameras.transform import carry_cameras, small_motion
from nvs.gaussians import Gaussians
from nvs.rasterizer import rasterize

MODES = ("gt", "umeyama", "photometric")


@dataclass(frozen=True, kw_only=True)
class Photometric:
    """How a target's pose is optimised.

    Args:
        steps: of Adam, the first half of them on images of half the size, which widens the basin.
        learning_rate: of the rotation, radians a step, and of the translation in units of the distance to
            the scene; it falls to a twentieth along a cosine.
    """

    steps: int = 100
    learning_rate: float = 0.005

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate <= 0:
            raise InputError(
                f"photometric: expected steps >= 1 and learning_rate > 0, got {self.steps} and "
                f"{self.learning_rate}"
            )


def starting_cameras(mode: str, prediction: Splatted, task: Task) -> Cameras:
    """The targets' cameras in the Gaussians' world, before any optimisation."""
    if prediction.cameras is None or task.context.cameras is not None:
        return task.targets
    try:
        return carry_cameras(task.targets, task.photos.cameras, prediction.cameras)
    except DegenerateAlignment as error:
        raise InputError(
            f"scene {task.scene}: {mode} needs predicted context cameras at different places ({error})"
        ) from error


def optimise_pose(
    gaussians: Gaussians,
    camera: Cameras,
    photo: Float[Tensor, "1 3 H W"],
    settings: Photometric,
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
) -> tuple[Cameras, float]:
    """The camera near ``camera`` from which fixed Gaussians look most like the photo.

    Six numbers move in the camera's own axes: a rotation as the quaternion (x, y, z, 1) and a shift. The best
    camera seen at full size wins, the starting one included, so the squared error never grows.

    Args:
        camera: one view, intrinsics for the photo's size.
        background: colour where no Gaussian is; black if None.

    Returns:
        The camera, and the squared error from it, mean over pixels and channels.
    """
    size = tuple(photo.shape[-2:])
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    small = F.interpolate(photo, size=half, mode="area")
    K_half = resize_intrinsics(camera.intrinsics, size, half)  # type: ignore[arg-type]
    draw = partial(rasterize, gaussians, background=background, backend=backend)
    with torch.no_grad():
        first = draw(camera, size)  # type: ignore[arg-type]
        best, best_error = camera, float((first.rgb[0] - photo).square().mean())
        seen = first.depth[first.alpha > 0.5]
    distance = float(seen.median()) if len(seen) else 1.0

    move = torch.zeros(6, device=photo.device, requires_grad=True)
    optimizer = torch.optim.Adam([move], lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, settings.steps, eta_min=settings.learning_rate / 20
    )
    with torch.enable_grad():
        for step in range(settings.steps + 1):
            moved = replace(camera, extrinsics=small_motion(move, distance) @ camera.extrinsics)
            coarse = step < settings.steps // 2
            view = draw(replace(moved, intrinsics=K_half), half) if coarse else draw(moved, size)  # type: ignore[arg-type]
            error = (view.rgb[0] - (small if coarse else photo)).square().mean()
            if not coarse and error.detach() < best_error:
                best, best_error = moved.detach(), float(error.detach())
            if step == settings.steps:
                break
            optimizer.zero_grad()
            error.backward()
            if not move.grad.isfinite().all():
                break  # nothing of the scene is in view any more
            optimizer.step()
            schedule.step()
    return best, best_error

"""Which way is up, and what the cameras look at.

Reconstructed worlds have no up of their own: usually the first camera's axes, y down. Viewers on the web
expect y up.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.ops import se3
from geometry.views import Cameras


def up_axis(cameras: Cameras) -> Float[Tensor, "B 3"]:
    """Unit vector that points up in the world, guessed from how people hold cameras.

    People tilt cameras but seldom roll them, so up is the direction most nearly at right angles to every
    camera's x axis. Where the cameras turn too little to tell, the mean of their own up axes decides.
    """
    rotation = cameras.extrinsics[..., :3, :3].double()  # rows are camera axes in the world
    right, up = rotation[:, :, 0], -rotation[:, :, 1].mean(dim=1)
    up = torch.nn.functional.normalize(up, dim=-1)
    # The small weight on the mean settles what the x axes leave open, and no more: it is about the
    # scatter that a roll of 6 degrees makes.
    scatter = torch.einsum("bvi,bvj->bij", right, right) / right.shape[1]
    scatter = scatter - 0.01 * up[:, :, None] * up[:, None, :]
    axis = torch.linalg.eigh(scatter).eigenvectors[..., 0]
    sign = torch.where((axis * up).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return (sign * axis).to(cameras.extrinsics)


def focus_point(cameras: Cameras, depth: Float[Tensor, "B V H W"] | None = None) -> Float[Tensor, "B 3"]:
    """The point the cameras look at: where their optical axes nearly meet.

    Where they do not meet in front of the cameras (one view, parallel or outward views) it is the point at
    median depth in front of the mean camera. A depth map also overrules a meeting point that lies much
    nearer or farther than what is seen.

    Args:
        depth: z-depth of the cameras' own images; entries that are not positive and finite are ignored.

    Raises:
        ValueError: the axes do not meet and there is no depth to go by.
    """
    centres = se3.centres(cameras.extrinsics).double()
    look = cameras.extrinsics[:, :, 2, :3].double()
    points = []
    for b in range(len(centres)):
        seen = _median_depth(None if depth is None else depth[b])
        meeting = _meeting_point(centres[b], look[b])
        if meeting is not None and seen is not None:
            distance = ((meeting - centres[b]) * look[b]).sum(-1).median()
            meeting = meeting if 0.2 * seen < distance < 5 * seen else None
        if meeting is None:
            if seen is None:
                raise ValueError(
                    "focus_point: the optical axes do not meet in front of the cameras; expected a depth map"
                )
            meeting = _mean_camera_ahead(centres[b], look[b], seen)
        points.append(meeting)
    return torch.stack(points).to(cameras.extrinsics)


def _meeting_point(centres: Float[Tensor, "V 3"], look: Float[Tensor, "V 3"]) -> Tensor | None:
    across = torch.eye(3).to(look) - look[:, :, None] * look[:, None, :]
    system = across.mean(dim=0)
    # The smallest eigenvalue is the mean squared sine of the axes to their common direction.
    if torch.linalg.eigvalsh(system)[0] < 1e-3:
        return None
    point = torch.linalg.solve(system, (across @ centres[..., None]).mean(dim=0))[:, 0]
    spread = (centres - centres.mean(dim=0)).norm(dim=-1).max()
    in_front = ((point - centres) * look).sum(-1) > 0.1 * spread
    return point if in_front.float().mean() > 0.8 else None


def _median_depth(depth: Float[Tensor, "V H W"] | None) -> float | None:
    if depth is None:
        return None
    # Every n-th value: the median of about 100 000 is as good, and torch's median copies.
    values = depth.flatten()[:: max(1, depth.numel() // 100_000)]
    values = values[values.isfinite() & (values > 0)]
    return float(values.double().median()) if len(values) else None


def _mean_camera_ahead(centres: Tensor, look: Tensor, distance: float) -> Tensor:
    """Ahead of the mean camera; of the first one if the cameras look all ways."""
    mean = look.mean(dim=0)
    if mean.norm() < 0.3:
        return centres[0] + distance * look[0]
    return centres.mean(dim=0) + distance * torch.nn.functional.normalize(mean, dim=0)


def y_up_turn(cameras: Cameras) -> Float[Tensor, "B 3 3"]:
    """Rotation from this world to one whose y axis points up and in which the first camera looks along -z.

    For viewers with OpenGL's habits. Apply it with `nvs.gaussians.transform.turn_gaussians` and
    `nvs.cameras.transform.turn_cameras`, both or neither.
    """
    up = up_axis(cameras)
    back = -cameras.extrinsics[:, 0, 2, :3]
    right = torch.linalg.cross(up, back)
    # A first camera that looks straight up or down has no heading; its own x axis is then level.
    level = right.norm(dim=-1, keepdim=True) > 1e-3
    right = torch.where(level, right, cameras.extrinsics[:, 0, 0, :3])
    right = torch.nn.functional.normalize(right - (right * up).sum(-1, keepdim=True) * up, dim=-1)
    return torch.stack((right, up, torch.linalg.cross(right, up)), dim=-2)

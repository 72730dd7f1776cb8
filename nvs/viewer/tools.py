"""What the viewer works out, without the viewer: colours, boxes, points under the mouse, flights."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from geometry.ops.pinhole import intrinsics_matrix, resize_intrinsics, unproject
from geometry.ops.rotations import matrix_from_quat_xyzw, xyzw_from_wxyz
from geometry.scenes.scene import Frame
from geometry.views import Cameras
from nvs.cameras.spline import spline
from nvs.gaussians import Gaussians
from nvs.gaussians.spherical_harmonics import sh_colours

_SEEN = 0.5  # of what lies behind, still seen where a surface is taken to be


def most_visible(gaussians: Gaussians, count: int) -> Gaussians:
    """At most ``count`` Gaussians of one scene, by opacity times the area of their two longest axes."""
    if gaussians.means.shape[1] <= count:
        return gaussians
    longest = gaussians.scales[0].topk(2, dim=-1).values.prod(dim=-1)
    return gaussians[:, (gaussians.opacities[0] * longest).topk(count).indices.sort().values]


def colours_from(gaussians: Gaussians, eye: Float[Tensor, "3"], degree: int) -> Float[Tensor, "N 3"]:
    """sRGB in 0..1 of one scene's Gaussians seen from ``eye``, with SH up to a degree."""
    return sh_colours(gaussians.sh[0], gaussians.means[0] - eye.to(gaussians.means), degree).clamp(max=1)


def inside_box(
    points: Float[Tensor, "N 3"],
    centre: Float[Tensor, "3"],
    wxyz: Float[Tensor, "4"],
    size: Float[Tensor, "3"],
) -> Bool[Tensor, " N"]:
    """Which points lie in a box of this size that is turned and then moved to its centre."""
    turn = matrix_from_quat_xyzw(xyzw_from_wxyz(wxyz)).to(points)
    return (((points - centre.to(points)) @ turn).abs() <= size.to(points) / 2).all(dim=-1)


def surface_point(
    gaussians: Gaussians, origin: Float[Tensor, "3"], direction: Float[Tensor, "3"]
) -> Float[Tensor, "3"] | None:
    """The point on a ray from which on one scene's Gaussians hide half of what is behind; or None."""
    g = gaussians
    d = torch.nn.functional.normalize(direction, dim=0).to(g.means)
    turn = matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats[0]))
    # In a Gaussian's own axes, in units of its scales, its density falls evenly to all sides.
    start, step = (
        (v @ turn)[:, 0] / g.scales[0] for v in ((origin.to(g.means) - g.means[0])[:, None], d[None, None])
    )
    along = -(start * step).sum(-1) / (step * step).sum(-1)
    nearest = (start + along[:, None] * step).square().sum(-1)
    alpha = g.opacities[0] * torch.exp(-0.5 * nearest)
    near = ((alpha > 1 / 255) & (along > 0)).nonzero()[:, 0]
    order = near[along[near].argsort()]
    left = (1 - alpha[order].clamp(max=0.999)).cumprod(dim=0)
    hidden = (left < 1 - _SEEN).nonzero()
    return origin.to(d) + along[order[hidden[0, 0]]] * d if len(hidden) else None


def flight(
    keys: Sequence[tuple[Float[np.ndarray, "4 4"], float]], size: tuple[int, int], frames: int
) -> Cameras:
    """A smooth path [1, frames] through views in their order, for images of ``size`` (H, W); one view stays.

    Args:
        keys: world-to-camera, and the vertical field of view in radians.
    """
    H, W = size
    focal = torch.tensor([H / 2 / math.tan(fov / 2) for _, fov in keys])[:, None].expand(-1, 2)
    views = Cameras(
        extrinsics=torch.from_numpy(np.stack([E for E, _ in keys]))[None].float(),
        intrinsics=intrinsics_matrix(focal, torch.tensor([W / 2, H / 2]).expand_as(focal))[None],
    )
    return views[:, [0] * frames] if len(keys) == 1 else spline(views, frames=frames, in_order=True)


def depth_points(frame: Frame, most: int) -> tuple[Float[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"]]:
    """World points of a photo's stored depth, at most so many, and their colours; maybe none."""
    depth = frame.load_depth()
    if depth is None:
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    size = depth.shape
    cameras = Cameras(
        extrinsics=torch.from_numpy(frame.extrinsics)[None, None].float(),
        intrinsics=resize_intrinsics(torch.from_numpy(frame.intrinsics), frame.image_size, size)[
            None, None
        ].float(),
    )
    points = unproject(torch.from_numpy(depth)[None, None], cameras)[0, 0].flatten(0, 1).numpy()
    colours = cv2.resize(frame.load(), size[::-1], interpolation=cv2.INTER_AREA).reshape(-1, 3)
    known = np.flatnonzero(depth.reshape(-1) > 0)
    known = known[np.linspace(0, len(known) - 1, min(len(known), most)).astype(int)]
    return points[known], colours[known]

"""What the geometry network returns: everything it computed, nothing deleted."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.ops.scale import rescale_cameras
from geometry.tensors import TensorRecord
from geometry.views import Cameras


@dataclass(frozen=True, kw_only=True)
class Features(TensorRecord):
    """Backbone features at four levels, ready for the dense heads.

    With ``cat_token`` variants D is twice the ViT's width: the state after the last within-view block,
    then the current state; only the second half has passed the final norm.
    """

    patches: list[Float[Tensor, "B V T D"]]  # one per output level, input view order
    camera_tokens: list[Float[Tensor, "B V D"]]  # slot 0, un-normed
    grid: tuple[int, int]  # (h, w) patches; T = h * w
    image_size: tuple[int, int]  # (H, W)
    reference: Int[Tensor, " B"] | None = None  # reference view chosen, None where none was
    exported: dict[int, Float[Tensor, "B V T C"]] = field(default_factory=dict)  # by block index


@dataclass(frozen=True, kw_only=True)
class Geometry(TensorRecord):
    """Depth, rays and cameras of a set of views; the caller picks which camera estimate to use."""

    depth: Float[Tensor, "B V H W"]  # z-depth, scene units
    depth_conf: Float[Tensor, "B V H W"] | None = None  # >= 1
    rays: Float[Tensor, "B V h w 6"] | None = None  # direction (not unit), then origin; world axes
    ray_conf: Float[Tensor, "B V h w"] | None = None  # >= 1
    cameras: Cameras | None = None  # from the camera decoder
    # Translation, quaternion xyzw (of cam_to_world), fov h, fov w; of all scenes, also where only the first B
    # have been decoded densely.
    pose_encoding: Float[Tensor, "all V 9"] | None = None
    sky: Float[Tensor, "B V H W"] | None = None  # about 1 on sky, about 0 elsewhere
    scale_factor: Float[Tensor, ""] | None = None  # nested model: scene units to metres, already applied
    features: Features | None = None


def scaled(geometry: Geometry, factor: float | Tensor, *, in_place: bool = False) -> Geometry:
    """The geometry of the world made ``factor`` times larger: depth, cameras and ray origins.

    Args:
        in_place: the depth's own numbers change; it may lie on the disk.
    """
    depth, cameras, rays, encoding = geometry.depth, geometry.cameras, geometry.rays, geometry.pose_encoding
    if cameras is not None:
        cameras = rescale_cameras(cameras, torch.as_tensor(factor).to(cameras.extrinsics).expand(len(depth)))
    if rays is not None:
        rays = torch.cat((rays[..., :3], rays[..., 3:] * factor), dim=-1)
    if encoding is not None:
        encoding = torch.cat((encoding[..., :3] * factor, encoding[..., 3:]), dim=-1)
    depth = depth.mul_(factor) if in_place else depth * factor
    return replace(geometry, depth=depth, cameras=cameras, rays=rays, pose_encoding=encoding)

"""Raw head channels and geometry to world-frame Gaussians."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.align import camera_scale
from geometry.ops.pinhole import pixel_grid
from geometry.ops.rotations import turn_quat_xyzw, wxyz_from_xyzw, xyzw_from_wxyz
from geometry.prediction import Geometry
from geometry.views import Cameras
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.gaussians.spherical_harmonics import rotate_sh


class GaussianAdapter:
    """One Gaussian per pixel, in the clean convention: what heads trained here use.

    Every raw parameter lives in the local camera frame. Zeros everywhere give the pixel's own colour, a
    round Gaussian of half a pixel, and no offset: an untrained head starts from the unprojected
    photo.

    Raw channels: log-scale position (3), quaternion wxyz (4), SH (3 per term, term-major), and with
    offsets an image offset (x, y) in pixels and a relative depth offset.

    Args:
        flavour: ``rgb`` is plain colour without offsets (the paper's benchmark model, section 5.1);
            ``sh`` has SH of ``sh_degree`` and offsets (section 5.2).
        scale_px: smallest and largest standard deviation, in pixels at the Gaussian's depth.

    Source: DA3 (arXiv:2511.10647) section 5; parametrisation ours.
    """

    released = False

    def __init__(
        self,
        flavour: Literal["rgb", "sh"] = "sh",
        *,
        sh_degree: int = 2,
        scale_px: tuple[float, float] = (0.01, 30.0),
    ) -> None:
        if flavour not in ("rgb", "sh"):
            raise InputError(f"Gaussian head: expected a flavour of rgb or sh, got {flavour!r}")
        self.flavour = flavour
        self.sh_degree = 0 if flavour == "rgb" else sh_degree
        self.offsets = flavour == "sh"
        self.scale_px = scale_px

    @property
    def settings(self) -> dict[str, object]:
        """Arguments that make this adapter again; stored in checkpoints."""
        return {"flavour": self.flavour, "sh_degree": self.sh_degree, "scale_px": list(self.scale_px)}

    @property
    def raw_channels(self) -> int:
        return 3 + 4 + 3 * (self.sh_degree + 1) ** 2 + (3 if self.offsets else 0)

    def __call__(
        self,
        raw: Float[Tensor, "B V H W C"],
        density: Float[Tensor, "B V H W"],
        geometry: Geometry,
        images: Float[Tensor, "B V 3 H W"],
        given: Cameras | None = None,
    ) -> Gaussians:
        """World-frame Gaussians, V * H * W per scene in view, row, column order.

        Args:
            images: sRGB in 0..1: colours start from the pixels.
            given: known cameras; the predicted depth is scaled to them and lifted with them. Otherwise
                the predicted cameras lift it.
        """
        B, V, H, W = density.shape
        terms = (self.sh_degree + 1) ** 2
        log_scale, quat, sh, offset = raw.split((3, 4, 3 * terms, 3 if self.offsets else 0), dim=-1)
        depth, cameras = pose_adapted(geometry, given)
        cam_to_world = se3.invert(cameras.extrinsics)
        rotation = cam_to_world[..., :3, :3]

        pixels = pixel_grid((H, W), device=depth.device, dtype=depth.dtype).expand(B, V, H, W, 2)
        if self.offsets:
            pixels = pixels + offset[..., :2]
            # Relative to depth, so that the offset means the same at every scene scale and cannot
            # bring a point behind its camera.
            depth = depth * offset[..., 2].clamp(-5, 5).exp()
        direction, focal = _rays(pixels, cameras)
        local = depth[..., None] * direction
        means = torch.einsum("bvij,bvhwj->bvhwi", rotation, local) + cam_to_world[:, :, None, None, :3, 3]

        low, high = self.scale_px
        # Geometric interpolation: equal steps of the raw value are equal factors of size.
        sigma_px = low * (high / low) ** log_scale.sigmoid()
        scales = sigma_px * (depth / focal.mean(-1)[..., None, None])[..., None]

        # The identity is added, so that raw zeros are a valid rotation.
        quat = xyzw_from_wxyz(quat + quat.new_tensor([1.0, 0.0, 0.0, 0.0]))
        quats = wxyz_from_xyzw(turn_quat_xyzw(rotation[:, :, None, None], quat))

        sh = _damp(sh.unflatten(-1, (terms, 3)))
        sh = rotate_sh(sh, rotation[:, :, None, None])
        sh = torch.cat(
            (sh[..., :1, :] + rgb_to_sh(images.movedim(2, -1))[..., None, :], sh[..., 1:, :]), dim=-2
        )
        return _flattened(means=means, quats=quats, scales=scales, opacities=density, sh=sh)


class ReleasedAdapter:
    """The released head's convention, quirks included: for its weights only.

    Its rays are unit vectors multiplied by z-depth; the depth offset is absolute and may turn depth
    negative; quaternions are read and returned in mixed component orders; SH is colour-major; and the
    predicted cameras lift even where cameras are given, centres and depth scaled to those.

    Args:
        lift_with_given: lift with the given cameras instead, so that the Gaussians lie in their world.
            No weight depends on this one.

    Source: the released DA3 network.
    """

    released = True
    flavour = "sh"
    sh_degree = 2
    raw_channels = 37
    scale_range = (1e-5, 30.0)

    def __init__(self, *, lift_with_given: bool = False) -> None:
        self.lift_with_given = lift_with_given

    @property
    def settings(self) -> dict[str, object]:
        """Arguments that make this adapter again; stored in checkpoints."""
        return {"released": True, "lift_with_given": self.lift_with_given}

    def __call__(
        self,
        raw: Float[Tensor, "B V H W 37"],
        density: Float[Tensor, "B V H W"],
        geometry: Geometry,
        images: Float[Tensor, "B V 3 H W"],
        given: Cameras | None = None,
    ) -> Gaussians:
        """World-frame Gaussians, as `GaussianAdapter`; ``images`` do not enter."""
        _, _, H, W = density.shape
        offset, scale, quat, sh, depth_offset = raw.split((2, 3, 4, 27, 1), dim=-1)
        cameras = geometry.cameras
        depth = geometry.depth + depth_offset[..., 0]
        factor = torch.ones_like(depth[:, 0, 0, 0])
        if given is not None:
            factor = camera_scale(given.extrinsics, cameras.extrinsics).to(depth)
            depth = depth * factor[:, None, None, None]
        if given is not None and self.lift_with_given:
            cameras, factor = given, torch.ones_like(factor)
        cam_to_world = se3.invert(cameras.extrinsics)
        rotation, centre = cam_to_world[..., :3, :3], cam_to_world[..., :3, 3] * factor[:, None, None]

        pixels = pixel_grid((H, W), device=depth.device, dtype=depth.dtype) + offset
        direction, focal = _rays(pixels, cameras)
        direction = direction / direction.norm(dim=-1, keepdim=True)
        direction = torch.einsum("bvij,bvhwj->bvhwi", rotation, direction)
        means = centre[:, :, None, None] + direction * depth[..., None]

        low, high = self.scale_range
        pixel = 0.1 * (1 / focal).sum(-1)[..., None, None]
        scales = (low + (high - low) * scale.sigmoid()) * (depth * pixel)[..., None]

        quats = released_world_quats(
            rotation[:, :, None, None], quat / (quat.norm(dim=-1, keepdim=True) + 1e-8)
        )

        sh = rotate_sh(_damp(sh.unflatten(-1, (3, 9)).mT), rotation[:, :, None, None])
        return _flattened(means=means, quats=quats, scales=scales, opacities=density, sh=sh)


def pose_adapted(geometry: Geometry, given: Cameras | None) -> tuple[Float[Tensor, "B V H W"], Cameras]:
    """Depth and the cameras that lift it: predicted ones, or given ones with depth brought to their scale."""
    if given is None:
        return geometry.depth, geometry.cameras
    factor = camera_scale(given.extrinsics, geometry.cameras.extrinsics).to(geometry.depth)
    return geometry.depth * factor[:, None, None, None], given


def _rays(
    pixels: Float[Tensor, "B V H W 2"], cameras: Cameras
) -> tuple[Float[Tensor, "B V H W 3"], Float[Tensor, "B V 2"]]:
    """Directions through pixels in camera axes, z = 1, and the focal lengths."""
    focal, principal = cameras.intrinsics[..., [0, 1], [0, 1]], cameras.intrinsics[..., :2, 2]
    slope = (pixels - principal[:, :, None, None]) / focal[:, :, None, None]
    return torch.cat((slope, torch.ones_like(slope[..., :1])), dim=-1), focal


def released_world_quats(
    rotation: Float[Tensor, "*groups 3 3"], quat: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch 4"]:
    """Local xyzw quaternions as the released code turns them into its renderer's wxyz ones.

    It moves them to scalar-first, reads that as scalar-last, turns it, and hands the scalar-last result
    over as scalar-first. The released weights were trained with it.
    """
    return turn_quat_xyzw(rotation, wxyz_from_xyzw(quat))


def _damp(sh: Float[Tensor, "*batch K 3"]) -> Float[Tensor, "*batch K 3"]:
    """Higher SH degrees start small: 0.1 * 0.25 ** degree (pixelSplat's prior)."""
    degree = torch.arange(sh.shape[-2], device=sh.device).float().sqrt().floor()
    factor = torch.where(degree == 0, torch.ones_like(degree), 0.1 * 0.25**degree)
    return sh * factor[:, None].to(sh.dtype)


def _flattened(**fields: Tensor) -> Gaussians:
    """Gaussians from fields [B, V, H, W, ...]."""
    return Gaussians(**{name: values.flatten(1, 3) for name, values in fields.items()})

"""Depth Anything 3: the any-view depth-ray network and its monocular relative, top to bottom."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from geometry.models.camera_tokens import CameraDecoder, CameraEncoder
from geometry.models.dual_dpt import DualDpt, MonocularDpt
from geometry.models.vit import VisionTransformer
from geometry.ops.pose_encoding import decode_cameras
from geometry.ops.sky import fill_sky
from geometry.prediction import Features, Geometry
from geometry.views import Cameras, Views

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet statistics, as DINOv2 was trained with
IMAGE_STD = (0.229, 0.224, 0.225)


def normalise_images(images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch 3 H W"]:
    """sRGB in 0..1 to the zero-mean images that the backbone takes."""
    mean, std = (images.new_tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    return (images - mean) / std


class DepthAnything3(nn.Module):
    """Any number of views, posed or not, to depth, rays and cameras.

    The world is the reference view's frame when no cameras are given; with cameras it is close to
    theirs, up to what the network makes of them. The heads always run in float32; the backbone runs in
    its own precision (`VisionTransformer.compute`) or that of the autocast around the call.

    Source: DA3 (arXiv:2511.10647) section 3.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        depth_head: DualDpt,
        camera_encoder: CameraEncoder,
        camera_decoder: CameraDecoder,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.depth_head = depth_head
        self.camera_encoder = camera_encoder
        self.camera_decoder = camera_decoder

    def encode(
        self,
        images: Float[Tensor, "B V 3 H W"],
        cameras: Cameras | None = None,
        *,
        conditioned: Bool[Tensor, "B V"] | None = None,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        export_blocks: Sequence[int] = (),
    ) -> Features:
        """Backbone features of images in `normalise_images` form; see `VisionTransformer.forward`."""
        tokens = None
        if cameras is not None:
            with torch.autocast(images.device.type, enabled=False):
                tokens = self.camera_encoder(cameras, (images.shape[-2], images.shape[-1]), conditioned)
        return self.backbone(
            images,
            camera_tokens=tokens,
            conditioned=conditioned,
            reference=reference,
            export_blocks=export_blocks,
        )

    def decode(
        self, features: Features, *, chunk: int = 8, rays: bool = True, dense: int | None = None
    ) -> Geometry:
        """Depth, rays and cameras of features; see `forward`."""
        with torch.autocast(features.patches[0].device.type, enabled=False):
            first = features if dense is None else features.map(lambda t: t[:dense])
            depth, depth_conf, ray_map, ray_conf = self.depth_head(first, chunk, rays=rays)
            encoding = self.camera_decoder(features.camera_tokens[-1].float())
            cameras = decode_cameras(encoding, features.image_size)
        return Geometry(
            depth=depth,
            depth_conf=depth_conf,
            rays=ray_map,
            ray_conf=ray_conf,
            cameras=cameras,
            pose_encoding=encoding,
            features=features,
        )

    def forward(
        self,
        views: Views,
        *,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = True,
        dense: int | None = None,
    ) -> Geometry:
        """Geometry of views in 0..1; ``views.cameras`` condition the network where they are known.

        Args:
            reference: strategy or index of the reference view; unused where all cameras are known. Where some
                are, its index in `condition`'s world: the first known view.
            chunk: views that the dense head takes at a time.
            rays: False skips the ray branch.
            dense: scenes, from the first on, whose depth and rays are decoded; None means all. Cameras are
                those of all.
        """
        images = normalise_images(views.images)
        features = self.encode(images, views.cameras, conditioned=views.known, reference=reference)
        return self.decode(features, chunk=chunk, rays=rays, dense=dense)


class MonocularDepth(nn.Module):
    """Each view on its own to relative depth and sky: the monocular and metric models, and the teacher.

    The metric model's output becomes metres by `geometry.ops.metric.metric_depth`.

    Source: DA3 (arXiv:2511.10647) section 4.
    """

    def __init__(self, backbone: VisionTransformer, depth_head: MonocularDpt) -> None:
        super().__init__()
        self.backbone = backbone
        self.depth_head = depth_head

    def encode(self, images: Float[Tensor, "B V 3 H W"], *, export_blocks: Sequence[int] = ()) -> Features:
        return self.backbone(images, export_blocks=export_blocks)

    def decode(self, features: Features, *, chunk: int = 8, sky_fill: bool = True) -> Geometry:
        with torch.autocast(features.patches[0].device.type, enabled=False):
            depth, sky = self.depth_head(features, chunk)
        return Geometry(depth=fill_sky(depth, sky) if sky_fill else depth, sky=sky, features=features)

    def forward(self, views: Views, *, chunk: int = 8, sky_fill: bool = True) -> Geometry:
        """Depth and sky of views in 0..1; ``sky_fill`` puts sky behind everything (see `fill_sky`)."""
        features = self.encode(normalise_images(views.images))
        return self.decode(features, chunk=chunk, sky_fill=sky_fill)

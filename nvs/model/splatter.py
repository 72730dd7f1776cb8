"""Photos to Gaussians in one pass: geometry network, Gaussian head, adapter."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.models.da3 import DepthAnything3, MonocularDepth, normalise_images
from geometry.models.nested import NestedDepthAnything3, align_to_metric
from geometry.models.zoo import VARIANTS, any_view_variant
from geometry.ops.images import resize_images
from geometry.predict import in_given_world
from geometry.prediction import Geometry
from geometry.tensors import TensorRecord
from geometry.views import Views
from geometry.weights.checkpoints import Checkpoint, load_network, load_strict, save_checkpoint
from nvs.gaussians import Gaussians
from nvs.gaussians.transform import transform_gaussians
from nvs.model.backbone import Backbone, Encoding, encode_views
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.pooling import on_grid, pool, resize_cameras


@dataclass(frozen=True, kw_only=True)
class Splats(TensorRecord):
    """Gaussians, and the geometry that they were made from, in one world."""

    gaussians: Gaussians  # V * h * w per scene, in view, row, column order
    geometry: Geometry  # depth on the same grid; cameras for the images' own size


def owners(splats: Splats) -> Int[Tensor, " N"]:
    """For each Gaussian of a scene the view it came from."""
    _, V, h, w = splats.geometry.depth.shape
    return torch.arange(V, device=splats.geometry.depth.device).repeat_interleave(h * w)


class Splatter(nn.Module):
    """A geometry network, a Gaussian head and the convention that they agree on.

    The world is the given cameras' where cameras are given, else the network's own.

    Source: DA3 (arXiv:2511.10647) section 5.
    """

    def __init__(
        self,
        network: DepthAnything3 | NestedDepthAnything3 | Backbone,
        head: GaussianDpt,
        adapter: GaussianAdapter | ReleasedAdapter,
    ) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.adapter = adapter

    def forward(
        self,
        views: Views,
        *,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = False,
    ) -> Splats:
        """Gaussians of views in 0..1, one per pixel.

        Args:
            chunk: views that the dense heads take at a time.
            rays: also compute the ray maps.
        """
        encoding = encode_views(self.network, views, reference=reference, chunk=chunk, rays=rays)
        return self.splat(encoding, views, chunk=chunk)

    def splat(
        self,
        encoding: Encoding,
        views: Views,
        *,
        chunk: int = 8,
        grid: tuple[int, int] | None = None,
        depth: Float[Tensor, "B V h w"] | None = None,
        weight: Float[Tensor, "B V h w"] | None = None,
    ) -> Splats:
        """Gaussians from what the network made of these views; the head's part of `forward`.

        Args:
            grid: (h, w) Gaussians of each view instead of one per pixel; everything is pooled to it.
            depth: z-depth on that grid instead of the network's, in the given cameras' world: they must be
                given.
            weight: factor on opacities, 0..1: how far each depth is trusted.
        """
        # World coordinates do not survive bfloat16, whatever precision the network ran in.
        with torch.autocast(views.images.device.type, enabled=False):
            raw, density = self.raw_parameters(encoding, normalise_images(views.images), chunk)
            geometry, given, images = encoding.geometry, encoding.given, views.images
            if depth is not None:
                # In the network's world, under the given cameras there: nothing is left to be scaled.
                depth = depth / encoding.world.scale.to(depth)[:, None, None, None]
                geometry = Geometry(depth=depth, cameras=given)
            elif geometry is None:
                raise ValueError("splat: expected depth, or an encoding with geometry")
            cameras = geometry.cameras
            if grid is not None:
                raw, density = pool(raw, grid), pool(density[..., None], grid)[..., 0]
                geometry, images = on_grid(geometry, views.image_size, grid), resize_images(images, grid)
                given = None if given is None else resize_cameras(given, views.image_size, grid)
            if weight is not None:
                density = density * weight
            gaussians = self.adapter(raw, density, geometry, images, given=given)
            geometry = replace(geometry, cameras=cameras)
            if given is not None:
                gaussians = transform_gaussians(gaussians, encoding.world)
                geometry = in_given_world(geometry, views.cameras, encoding.given, encoding.world)
            elif encoding.metric is not None:
                # The released nested model leaves its Gaussians behind when it scales everything else.
                scaled = align_to_metric(encoding.geometry, encoding.metric)
                gaussians = replace(
                    gaussians,
                    means=gaussians.means * scaled.scale_factor,
                    scales=gaussians.scales * scaled.scale_factor,
                )
                coarse = scaled if grid is None else on_grid(scaled, views.image_size, grid)
                geometry = replace(coarse, cameras=scaled.cameras)
        return Splats(gaussians=gaussians, geometry=geometry)

    def raw_parameters(
        self, encoding: Encoding, images: Float[Tensor, "B V 3 H W"], chunk: int
    ) -> tuple[Float[Tensor, "B V H W C"], Float[Tensor, "B V H W"]]:
        """The head's raw channels and density for normalised images."""
        return self.head(encoding.patches, encoding.grid, images, chunk)


def released_gaussian_head(variant: str) -> GaussianDpt:
    """The released kind of head at any size, fresh weights; only Giant's were published."""
    return _head(variant, ReleasedAdapter.raw_channels)


def new_gaussian_head(variant: str, adapter: GaussianAdapter) -> GaussianDpt:
    """A head that starts from the unprojected photo: raw zeros, and density 0.9 everywhere."""
    return started_from_photo(_head(variant, adapter.raw_channels))


def started_from_photo(head: GaussianDpt) -> GaussianDpt:
    """The head, its last layer set to raw zeros and density 0.9."""
    nn.init.zeros_(head.out[2].weight)
    nn.init.zeros_(head.out[2].bias)
    with torch.no_grad():
        head.out[2].bias[-1] = 2.2  # sigmoid(2.2) = 0.9
    return head


def _head(variant: str, raw_channels: int) -> GaussianDpt:
    v = VARIANTS[any_view_variant(variant)]
    return GaussianDpt(v.feature_width, v.channels, v.features, raw_channels=raw_channels)


def load_splatter(checkpoint: Checkpoint) -> tuple[Splatter, bool]:
    """The splatter of a checkpoint, and whether its Gaussian head was in it.

    Weights without a head (the released small and base, for instance) get `new_gaussian_head`: each
    pixel is then unprojected to one Gaussian of its own colour.

    Raises:
        InputError: a monocular model, or weights that do not fit.
    """
    network = load_network(checkpoint)
    if isinstance(network, MonocularDepth):
        raise InputError(
            f"{checkpoint.source}: {checkpoint.variant!r} is monocular and places no cameras; novel views "
            "need an any-view model (tiny, small, base, large, giant, nested-giant-large)"
        )
    if not checkpoint.gaussian_head:
        adapter = GaussianAdapter("rgb")
        return Splatter(network, new_gaussian_head(checkpoint.variant, adapter).eval(), adapter).eval(), False
    adapter = _adapter(checkpoint)
    with torch.device("meta"):
        head = _head(checkpoint.variant, adapter.raw_channels)
    what = f"the Gaussian head of {checkpoint.variant!r}"
    load_strict(head, checkpoint.gaussian_head, checkpoint.source, what=what)
    return Splatter(network, head, adapter).eval(), True


def _adapter(checkpoint: Checkpoint) -> GaussianAdapter | ReleasedAdapter:
    stored = checkpoint.metadata.get("adapter")
    if stored is None:
        # Only released files have a head without saying of which kind.
        return ReleasedAdapter(lift_with_given=True)
    settings = json.loads(stored)
    if settings.pop("released", False):
        return ReleasedAdapter(**settings)
    settings["scale_px"] = tuple(settings["scale_px"])
    return GaussianAdapter(**settings)


def save_splatter(
    path: Path,
    splatter: Splatter,
    *,
    variant: str,
    released: bool,
    licence: str,
    with_network: bool = True,
    dtype: torch.dtype = torch.float32,
    **metadata: str,
) -> None:
    """Write a splatter, or its head alone, as one .safetensors that ``--model`` takes."""
    save_checkpoint(
        path,
        splatter.network if with_network else None,
        gaussian_head=splatter.head,
        variant=variant,
        released=released,
        licence=licence,
        dtype=dtype,
        adapter=json.dumps(splatter.adapter.settings),
        **metadata,
    )

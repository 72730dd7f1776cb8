"""Photos to Gaussians in one pass: geometry network, Gaussian head, adapter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geometry.accelerate import accelerate
from geometry.errors import InputError
from geometry.models.da3 import DepthAnything3, MonocularDepth, normalise_images
from geometry.models.nested import NestedDepthAnything3, align_to_metric
from geometry.models.zoo import VARIANTS, any_view_variant
from geometry.ops.images import resize_images
from geometry.predict import in_given_world
from geometry.prediction import Geometry
from geometry.tensors import TensorRecord
from geometry.views import Cameras, Views
from geometry.weights.checkpoint import Checkpoint, load_network, save_checkpoint
from geometry.weights.files import load_strict
from nvs.gaussians import Gaussians
from nvs.gaussians.transform import transform_gaussians
from nvs.model.backbone import Backbone, Encoding, encode_views
from nvs.model.depth import DepthSource, KnownDepth, NetworkDepth
from nvs.model.gs_dpt import GaussianDpt
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.pooling import on_grid, pool, resize_cameras, sample, spaced_grid, whole_cells

PHOTO_OPACITY = 0.9  # of every Gaussian where no trained head says otherwise


@dataclass(frozen=True, kw_only=True)
class Splats(TensorRecord):
    """Gaussians, and the geometry that they were made from, in one world."""

    gaussians: Gaussians  # V * h * w per scene, in view, row, column order
    geometry: Geometry  # depth on the same grid; cameras for the images' own size
    predicted: bool = True  # the depth is a network's, not measured between the photos


class Splatter(nn.Module):
    """A geometry network, a Gaussian head and the convention that they agree on.

    The world is the given cameras' where cameras are given, else the network's own.

    Args:
        network: None where depth always comes from elsewhere and there is no head.
        head: None makes of every pixel a Gaussian of its own colour, half a pixel wide.
        knows_depth: the network's depth and cameras are worth more than those of classical matching.

    Source: DA3 (arXiv:2511.10647) section 5.
    """

    def __init__(
        self,
        network: DepthAnything3 | NestedDepthAnything3 | Backbone | None,
        head: GaussianDpt | None,
        adapter: GaussianAdapter | ReleasedAdapter,
        *,
        knows_depth: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.adapter = adapter
        self.knows_depth = knows_depth

    def forward(
        self,
        views: Views,
        *,
        depth: DepthSource | None = None,
        spacing: float = 1.0,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = False,
    ) -> Splats:
        """Gaussians of views in 0..1.

        Args:
            depth: where they lie; None is at the network's depth.
            spacing: pixels from one Gaussian to the next, at least 1.
            chunk: views that the dense heads take at a time.
            rays: also compute the ray maps.
        """
        depth = depth or NetworkDepth()
        encoding = None
        if depth.from_network or self.head is not None:
            encoding = encode_views(
                self.network, views, reference=reference, chunk=chunk, rays=rays, geometry=depth.from_network
            )
        return self.splat(encoding, views, depth=depth, spacing=spacing, chunk=chunk)

    def splat(
        self,
        encoding: Encoding | None,
        views: Views,
        *,
        depth: DepthSource | None = None,
        spacing: float = 1.0,
        chunk: int = 8,
    ) -> Splats:
        """Gaussians from what the network made of these views; the head's part of `forward`.

        Args:
            encoding: None where neither the head nor the depth needs the network.
        """
        depth = depth or NetworkDepth()
        size = views.image_size
        grid = spaced_grid(size, spacing)
        # World coordinates do not survive bfloat16, whatever precision the network ran in.
        with torch.autocast(views.images.device.type, enabled=False):
            z, weight = depth(views, encoding)
            given = views.cameras if encoding is None else encoding.given
            if depth.from_network:
                geometry = encoding.geometry
            else:
                if encoding is not None:  # to the network's world, in which the given cameras then are
                    z = z / encoding.world.scale.to(z)[:, None, None, None]
                geometry = Geometry(depth=z, cameras=given)
            raw, density = self.raw_parameters(encoding, views.images, grid, chunk)
            if weight is not None:
                density = density * sample(weight, grid)
            if views.mask is not None:
                density = density * whole_cells(views.mask, grid)
            gaussians = self.adapter(
                raw,
                density,
                on_grid(geometry, size, grid),
                resize_images(views.images, grid),
                given=None if given is None else resize_cameras(given, size, grid),
            )
            coarse = replace(on_grid(geometry, size, grid), cameras=geometry.cameras)
            if encoding is None:
                pass
            elif given is not None:
                gaussians = transform_gaussians(gaussians, encoding.world)
                coarse = in_given_world(coarse, views.cameras, given, encoding.world)
            elif encoding.metric is not None:
                # The released nested model leaves its Gaussians behind when it scales everything else.
                scaled = align_to_metric(geometry, encoding.metric)
                gaussians = replace(
                    gaussians,
                    means=gaussians.means * scaled.scale_factor,
                    scales=gaussians.scales * scaled.scale_factor,
                )
                coarse = replace(on_grid(scaled, size, grid), cameras=scaled.cameras)
        predicted = depth.from_network or isinstance(depth, KnownDepth)
        return Splats(gaussians=gaussians, geometry=coarse, predicted=predicted)

    def raw_parameters(
        self, encoding: Encoding | None, images: Float[Tensor, "B V 3 H W"], grid: tuple[int, int], chunk: int
    ) -> tuple[Float[Tensor, "B V h w C"], Float[Tensor, "B V h w"]]:
        """The head's raw channels and density on the grid; zeros and `PHOTO_OPACITY` without a head."""
        if self.head is None:
            shape = (*images.shape[:2], *grid)
            raw = images.new_zeros(*shape, self.adapter.raw_channels)
            return raw, images.new_full(shape, PHOTO_OPACITY)
        raw, density = self.head(encoding.patches, encoding.grid, normalise_images(images), chunk)
        return pool(raw, grid), pool(density[..., None], grid)[..., 0]


def join_views(parts: Sequence[Splats], views: Sequence[Sequence[int]]) -> Splats:
    """Splats of all views in their order, from splats of parts of them in one world and on one grid.

    Args:
        views: which views each part is of.
    """
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([v for part in views for v in part]).argsort()

    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors, dim=1)[:, order.to(tensors[0].device)]

    def by_view(name: str) -> Tensor:
        each = [getattr(part.gaussians, name).unflatten(1, (len(v), -1)) for part, v in zip(parts, views)]
        return joined(each).flatten(1, 2)

    gaussians = Gaussians(**{name: by_view(name) for name in vars(parts[0].gaussians)})
    geometries = [part.geometry for part in parts]
    cameras = Cameras(
        extrinsics=joined([g.cameras.extrinsics for g in geometries]),
        intrinsics=joined([g.cameras.intrinsics for g in geometries]),
    )
    sky = None if geometries[0].sky is None else joined([g.sky for g in geometries])
    geometry = Geometry(depth=joined([g.depth for g in geometries]), sky=sky, cameras=cameras)
    return Splats(gaussians=gaussians, geometry=geometry, predicted=parts[0].predicted)


def photo_colours() -> Splatter:
    """The splatter with neither network nor head: Gaussians in the photos' own colours."""
    return Splatter(None, None, GaussianAdapter("rgb"), knows_depth=False)


def released_gaussian_head(variant: str) -> GaussianDpt:
    """The released kind of head at any size, fresh weights; only Giant's were published."""
    return _head(variant, ReleasedAdapter.raw_channels)


def new_gaussian_head(variant: str, adapter: GaussianAdapter) -> GaussianDpt:
    """A head that starts from the unprojected photo: raw zeros, and density 0.9 everywhere."""
    return started_from_photo(_head(variant, adapter.raw_channels))


def started_from_photo(head: GaussianDpt) -> GaussianDpt:
    """The head, its last layer set to raw zeros and density 0.9."""
    nn.init.zeros_(head.out[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(head.out[2].bias)  # type: ignore[arg-type]
    with torch.no_grad():
        head.out[2].bias[-1] = 2.2  # type: ignore[operator]  # sigmoid(2.2) = 0.9
    return head


def _head(variant: str, raw_channels: int) -> GaussianDpt:
    v = VARIANTS[any_view_variant(variant)]
    return accelerate(GaussianDpt(v.feature_width, v.channels, v.features, raw_channels=raw_channels))


def load_splatter(checkpoint: Checkpoint) -> Splatter:
    """The splatter of a checkpoint; weights without a Gaussian head give one without (``head`` is None).

    Raises:
        InputError: a monocular model, or weights that do not fit.
    """
    network = load_network(checkpoint)
    if isinstance(network, MonocularDepth):
        raise InputError(
            f"{checkpoint.source}: {checkpoint.variant!r} is monocular and places no cameras; novel views "
            "need an any-view model (tiny, small, base, large, giant, nested-giant-large)"
        )
    knows_depth = checkpoint.trained and not VARIANTS[checkpoint.variant].weak
    if not checkpoint.gaussian_head:
        return Splatter(network, None, GaussianAdapter("rgb"), knows_depth=knows_depth).eval()  # type: ignore[arg-type]
    adapter = _adapter(checkpoint)
    with torch.device("meta"):
        head = _head(checkpoint.variant, adapter.raw_channels)
    what = f"the Gaussian head of {checkpoint.variant!r}"
    load_strict(head, checkpoint.gaussian_head, checkpoint.source, what=what)
    return Splatter(network, head, adapter, knows_depth=knows_depth).eval()  # type: ignore[arg-type]


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
        splatter.network if with_network else None,  # type: ignore[arg-type]
        gaussian_head=splatter.head,
        variant=variant,
        released=released,
        licence=licence,
        dtype=dtype,
        adapter=json.dumps(splatter.adapter.settings),
        **metadata,
    )

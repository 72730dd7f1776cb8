"""What the Gaussian head needs of a backbone, and how Depth Anything 3 gives it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.models.da3 import DepthAnything3, normalise_images
from geometry.models.nested import NestedDepthAnything3
from geometry.ops.align import Similarity
from geometry.predict import condition
from geometry.prediction import Geometry
from geometry.tensors import TensorRecord
from geometry.views import Cameras, Views


@dataclass(frozen=True, kw_only=True)
class Encoding(TensorRecord):
    """Everything that the Gaussian head takes from a backbone, of some context views.

    It depends on the backbone alone, so with a frozen one it can be computed once and kept.
    """

    patches: list[Float[Tensor, "B V T D"]]  # features at four levels, T = h * w
    grid: tuple[int, int]  # (h, w) patches
    geometry: Geometry | None  # depth and cameras in the backbone's own world; None where not asked for
    given: Cameras | None = None  # the given cameras in that world, where there are any
    world: Similarity | None = None  # from that world to the given cameras' own
    metric: Geometry | None = None  # depth of a metric model, to which the result is scaled


@runtime_checkable
class Backbone(Protocol):
    """A network that a Gaussian head can sit on; `nvs.training.dino` is the shortest example.

    Args:
        views: images in 0..1, with cameras where they are given.
        reference: how a reference view is chosen, for networks that have one.
        chunk: views that dense heads take at a time.
        rays: also compute ray maps, where the network has them.
    """

    feature_width: int  # channels of each feature level

    def encode_views(
        self,
        views: Views,
        *,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        chunk: int = 8,
        rays: bool = False,
    ) -> Encoding: ...


def encode_views(
    network: DepthAnything3 | NestedDepthAnything3 | Backbone,
    views: Views,
    *,
    reference: str | Int[Tensor, " B"] = "saddle_balanced",
    chunk: int = 8,
    rays: bool = False,
    geometry: bool = True,
) -> Encoding:
    """Encoding by a Depth Anything 3 network, or by anything that is a `Backbone`.

    The backbone runs in its own precision or that of the autocast around the call, poses in float32.

    Args:
        geometry: False leaves out depth and cameras, for callers who have better ones; a `Backbone` may
            still give them.
    """
    if isinstance(network, Backbone):
        return network.encode_views(views, reference=reference, chunk=chunk, rays=rays)
    given, world = None, None
    if views.cameras is not None:
        with torch.autocast(views.images.device.type, enabled=False):
            given, world = condition(views.cameras)
    nested = isinstance(network, NestedDepthAnything3)
    any_view = network.any_view if nested else network
    features = any_view.encode(normalise_images(views.images), given, reference=reference)  # type: ignore[operator, union-attr]
    return Encoding(
        patches=features.patches,
        grid=features.grid,
        geometry=any_view.decode(features, chunk=chunk, rays=rays) if geometry else None,  # type: ignore[operator, union-attr]
        given=given,
        world=world,
        # Given cameras fix the scale; only without them are metres wanted.
        metric=network.metric(views, chunk=chunk) if nested and geometry and given is None else None,  # type: ignore[operator]
    )

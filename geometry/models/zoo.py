"""Every network size, and how to build it. Sizes live here alone; a checkpoint stores its variant's name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import nn

from geometry.models.camera_tokens import CameraDecoder, CameraEncoder
from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.models.dual_dpt import DualDpt, MonocularDpt
from geometry.models.nested import NestedDepthAnything3
from geometry.models.vit import VisionTransformer


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Sizes of one network; the fields are the arguments of its parts."""

    kind: Literal["any-view", "monocular", "nested"] = "any-view"
    width: int = 0
    depth: int = 0
    heads: int = 0
    feed_forward: Literal["mlp", "swiglu"] = "mlp"
    output_blocks: tuple[int, int, int, int] = (0, 0, 0, 0)
    alternate_from: int | None = None
    features: int = 0  # width of the dense heads, the Gaussian one too
    channels: tuple[int, int, int, int] = (0, 0, 0, 0)
    camera_encoder_depth: int = 4
    camera_encoder_heads: int = 16
    parts: tuple[str, str] | None = None  # nested: names of the any-view and the metric variant
    weak: bool = False  # too small to know depth and cameras better than classical matching does

    @property
    def feature_width(self) -> int:
        """Channels of the backbone's output levels."""
        return self.width * (2 if self.kind == "any-view" else 1)


_SMALL = Variant(
    width=384, depth=12, heads=6, output_blocks=(5, 7, 9, 11), alternate_from=4, features=64,
    channels=(48, 96, 192, 384),
)  # fmt: skip
_LARGE = Variant(
    width=1024, depth=24, heads=16, output_blocks=(11, 15, 19, 23), alternate_from=8, features=256,
    channels=(256, 512, 1024, 1024),
)  # fmt: skip
# Ours: at most 10 M parameters with every head, for offline use and tests.
_TINY = replace(
    _SMALL, width=192, heads=3, features=48, channels=(24, 48, 96, 192), camera_encoder_depth=2,
    camera_encoder_heads=6, weak=True,
)  # fmt: skip
_GIANT = replace(
    _LARGE, width=1536, depth=40, heads=24, feed_forward="swiglu", output_blocks=(19, 27, 33, 39),
    alternate_from=13,
)  # fmt: skip
_MONO_LARGE = replace(_LARGE, kind="monocular", output_blocks=(4, 11, 17, 23), alternate_from=None)

VARIANTS: dict[str, Variant] = {
    "tiny": _TINY,
    "small": _SMALL,
    "base": replace(_SMALL, width=768, heads=12, features=128, channels=(96, 192, 384, 768)),
    "large": _LARGE,
    "giant": _GIANT,
    # Ours as well: teacher and monocular model at the size of tests and examples.
    "mono-tiny": Variant(
        kind="monocular", width=192, depth=12, heads=3, output_blocks=(2, 5, 8, 11), features=48,
        channels=(24, 48, 96, 192),
    ),
    "mono-large": _MONO_LARGE,
    "metric-large": _MONO_LARGE,
    "nested-giant-large": Variant(kind="nested", parts=("giant", "metric-large")),
}  # fmt: skip


def any_view_variant(name: str) -> str:
    """The variant itself, or the any-view part of a nested one; its sizes are the Gaussian head's."""
    return VARIANTS[name].parts[0] if VARIANTS[name].parts else name


def build(name: str, *, released: bool = False) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: a key of `VARIANTS`.
        released: reproduce the released network's quirks, for its weights (`VisionTransformer`), and
            hold the unused layers of its checkpoints. The clean network is the default.
    """
    v = VARIANTS[name]
    if v.kind == "nested":
        any_view, metric = v.parts
        return NestedDepthAnything3(build(any_view, released=released), build(metric, released=released))  # type: ignore[arg-type]
    backbone = build_backbone(v, released=released)
    if v.kind == "monocular":
        return MonocularDepth(backbone, MonocularDpt(v.feature_width, v.channels, v.features))
    return around(backbone, v, partial(DualDpt, spares=released))


def around(backbone: VisionTransformer, v: Variant, head: Callable[..., DualDpt]) -> DepthAnything3:
    """An any-view network: a backbone with a head and camera tokens of its variant's sizes."""
    return DepthAnything3(
        backbone,
        head(v.feature_width, v.channels, v.features),
        CameraEncoder(v.width, depth=v.camera_encoder_depth, heads=v.camera_encoder_heads),
        CameraDecoder(v.feature_width),
    )


def build_backbone(v: Variant, *, released: bool = False) -> VisionTransformer:
    """The variant's transformer with fresh weights."""
    return VisionTransformer(
        v.width,
        v.depth,
        v.heads,
        feed_forward=v.feed_forward,
        output_blocks=v.output_blocks,
        alternate_from=v.alternate_from,
        concat_local=v.kind == "any-view",
        released=released,
    )

"""The any-view network by size, with the paper's architecture ablations as switches."""

from dataclasses import replace
from typing import TypeVar

from geometry.accelerate import accelerate
from geometry.errors import InputError
from geometry.models.da3 import DepthAnything3, MonocularDepth
from geometry.models.dual_dpt import DualDpt, SeparateDpt
from geometry.models.teacher import TeacherDepth, TeacherDpt
from geometry.models.zoo import VARIANTS, Variant, around, build, build_backbone

Network = TypeVar("Network", DepthAnything3, MonocularDepth, TeacherDepth)


def any_view_network(
    variant: str,
    *,
    full_alternation: bool = False,
    two_transformers: bool = False,
    separate_heads: bool = False,
    drop_path: float = 0.0,
) -> DepthAnything3:
    """Fresh network of an any-view size; without switches it is `geometry.models.zoo.build`.

    Args:
        full_alternation: alternate between views and one view from the first block on (ablation; the
            method alternates in the last two thirds).
        two_transformers: a whole transformer within views, then a second one of the same size that
            alternates, as in VGGT (ablation; our sizes). Twice the blocks; only the first half starts from
            DINOv2.
        separate_heads: rays get a reassembly of their own, so that nothing is shared between two DPTs
            (ablation).
        drop_path: see `with_drop_path`.

    Raises:
        InputError: unknown size, or switches that exclude each other.
    """
    v = _variant(variant, "any-view")
    if full_alternation and two_transformers:
        raise InputError("full_alternation and two_transformers are two ablations: set one of them")
    if full_alternation:
        v = replace(v, alternate_from=0)
    if two_transformers:
        v = replace(
            v,
            depth=2 * v.depth,
            alternate_from=v.depth,
            output_blocks=tuple(block + v.depth for block in v.output_blocks),  # type: ignore[arg-type]
        )
    network = around(build_backbone(v), v, SeparateDpt if separate_heads else DualDpt)
    return with_drop_path(network, drop_path)


def monocular_network(variant: str, *, drop_path: float = 0.0) -> MonocularDepth:
    """Fresh monocular or metric network: one view to depth and sky."""
    _variant(variant, "monocular")
    return with_drop_path(build(variant), drop_path)  # type: ignore[return-value, type-var]


def teacher_network(variant: str, *, drop_path: float = 0.0) -> TeacherDepth:
    """Fresh teacher: a monocular network that also predicts a mask of objects."""
    v = _variant(variant, "monocular")
    head = TeacherDpt(v.feature_width, v.channels, v.features)
    return with_drop_path(TeacherDepth(build_backbone(v), head), drop_path)


def with_drop_path(network: Network, most: float) -> Network:
    """The network in its fast form, its blocks skipped in training: the first never, the last so often."""
    if not 0 <= most < 1:
        raise InputError(f"model.drop_path: expected at least 0 and less than 1, got {most}")
    blocks = network.backbone.blocks
    for index, block in enumerate(blocks):
        block.drop_path = most * index / max(1, len(blocks) - 1)  # type: ignore[assignment]
    return accelerate(network)


def _variant(name: str, kind: str) -> Variant:
    if name not in VARIANTS or VARIANTS[name].kind != kind:
        known = [n for n, v in VARIANTS.items() if v.kind == kind]
        raise InputError(f"variant must be one of {', '.join(known)}, got {name!r}")
    return VARIANTS[name]

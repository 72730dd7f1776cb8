"""Starting the backbone from DINOv2, as timm holds it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.models.vit import VisionTransformer

# What DA3 adds to DINOv2's blocks; nothing in a DINOv2 checkpoint says what these should be.
_ADDED = ("camera_token", "attn.q_norm.", "attn.k_norm.")


def load_dinov2(backbone: VisionTransformer, timm_state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Copy the weights of timm's DINOv2 (``vit_*_patch14_dinov2``, without registers) into a backbone.

    Strict: every tensor of timm's is used, but for a classifier ``head.*``, and every parameter of ours
    that DINOv2 has is set.

    Returns:
        Names of the parameters that stay at their own initialisation: the camera tokens and the
        query/key norms of the alternating blocks, none for a plain backbone.

    Raises:
        InputError: another model's weights: names or shapes differ.

    Source: DINOv2 (arXiv:2304.07193); names as in timm.
    """
    ours = backbone.state_dict()
    added = tuple(name for name in ours if any(part in name for part in _ADDED))
    theirs = {
        _our_name(name, swiglu="blocks.0.mlp.w12.weight" in ours): value
        for name, value in timm_state_dict.items()
        if not name.startswith("head.")
    }
    wanted = ours.keys() - set(added)
    if theirs.keys() != wanted:
        missing, unknown = sorted(wanted - theirs.keys()), sorted(theirs.keys() - wanted)
        raise InputError(
            f"DINOv2 weights for this backbone: expected {len(wanted)} tensors, got {len(theirs)}; "
            f"missing {missing[:3]}, unknown {unknown[:3]}; take timm's vit_*_patch14_dinov2 of its size"
        )
    for name in sorted(wanted):
        if theirs[name].shape != ours[name].shape:
            raise InputError(
                f"DINOv2 weight {name}: expected {list(ours[name].shape)}, got {list(theirs[name].shape)}; "
                "take the timm model of the backbone's size"
            )
    with torch.no_grad():
        for name in wanted:
            ours[name].copy_(theirs[name])
    return added


def _our_name(timm_name: str, *, swiglu: bool) -> str:
    if swiglu:
        return timm_name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.")
    return timm_name

"""Starting the backbone from DINOv2, as timm holds it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.models.vit import VisionTransformer
from geometry.weights.files import require_fit

# timm's names by our width; there is none for our tiny size.
TIMM_NAMES = {
    384: "vit_small_patch14_dinov2.lvd142m",
    768: "vit_base_patch14_dinov2.lvd142m",
    1024: "vit_large_patch14_dinov2.lvd142m",
    1536: "vit_giant_patch14_dinov2.lvd142m",
}
# What DA3 adds to DINOv2's blocks; a DINOv2 checkpoint has no values for these.
_ADDED = ("camera_token", ".attn.q_norm.", ".attn.k_norm.")


def dinov2_state(width: int) -> tuple[str, dict[str, Tensor]]:
    """timm's name and weights of the DINOv2 of a width, fetched by timm on first use.

    Raises:
        InputError: there is none, or it is not cached and cannot be fetched.
    """
    name = TIMM_NAMES.get(width)
    if name is None:
        raise InputError(
            f"init=dinov2: there is no DINOv2 of width {width}; take small, base, large or giant, or "
            "init=null"
        )
    import timm  # a second to import, wanted only here

    try:
        # dynamic_img_size stores the 37 x 37 position embedding as it was trained.
        return name, timm.create_model(name, pretrained=True, dynamic_img_size=True).state_dict()
    except Exception as error:  # timm and the hub raise many kinds, all with the same meaning here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"init=dinov2: cannot get {name} through timm ({reason})") from error


def load_dinov2(backbone: VisionTransformer, timm_state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Copy the weights of timm's DINOv2 (``vit_*_patch14_dinov2``, without registers) into a backbone.

    Strict: every tensor of timm's is used, but for a classifier ``head.*``, and every parameter of ours
    that DINOv2 has is set.

    Returns:
        Names of the parameters that stay as they are: camera tokens and query/key norms, and the second half
        of a backbone of twice as many blocks (`geometry.training.architecture`, two transformers).

    Raises:
        InputError: another model's weights: names or shapes differ.

    Source: DINOv2 (arXiv:2304.07193); names as in timm.
    """
    ours = backbone.state_dict()
    swiglu = "blocks.0.mlp.w12.weight" in ours  # timm calls the two layers of the giant's SwiGLU fc1 and fc2
    theirs = {
        name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.") if swiglu else name: value
        for name, value in timm_state_dict.items()
        if not name.startswith("head.")
    }
    blocks, needed = _depth(theirs), _depth(ours)
    given = blocks if needed == 2 * blocks else needed
    fresh = tuple(
        name for name in ours if any(part in name for part in _ADDED) or (_block(name) or 0) >= given
    )
    wanted = {name: value for name, value in ours.items() if name not in fresh}
    require_fit(theirs, wanted, "DINOv2", what="this backbone; take timm's vit_*_patch14_dinov2 of its size")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(theirs[name])
    return fresh


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None


def _depth(state: Mapping[str, Tensor]) -> int:
    return 1 + max((block for name in state if (block := _block(name)) is not None), default=-1)

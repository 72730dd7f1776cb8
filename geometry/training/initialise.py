"""What a run starts from: DINOv2's backbone, a released or own checkpoint, or nothing."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from geometry.engine import load_weights
from geometry.errors import InputError
from geometry.weights.checkpoints import find_checkpoint

# timm's names of DINOv2 by our width; there is none for our tiny size.
TIMM_DINOV2 = {
    384: "vit_small_patch14_dinov2.lvd142m",
    768: "vit_base_patch14_dinov2.lvd142m",
    1024: "vit_large_patch14_dinov2.lvd142m",
    1536: "vit_giant_patch14_dinov2.lvd142m",
}
STEP_FILE = "model.pt"  # a folder that holds it is a checkpoint of the training engine


def initialise(network: nn.Module, source: str | None) -> str:
    """Load starting weights into a fresh network, and say in one line what was loaded.

    Args:
        source: ``None``, nothing; ``dinov2``, the backbone from timm (its cache or the hub); a checkpoint
            folder of a training run (``.../checkpoints/step_00001000``); else what ``--model`` of `geometry
            infer` takes: a released size, a hub id, a folder, a .safetensors file.

    Raises:
        InputError: not found, not reachable, or made for another network.
    """
    if source is None:
        return "weights: fresh"
    if source == "dinov2":
        name = TIMM_DINOV2.get(network.backbone.width)
        if name is None:
            raise InputError(
                f"init=dinov2: there is no DINOv2 of width {network.backbone.width}; take small, base, large "
                "or giant, or init=null"
            )
        loaded = load_dinov2(network.backbone, dinov2_state(name))
        return f"weights: {loaded} tensors of the backbone from {name}, the rest fresh"
    folder = Path(source).expanduser()
    if (folder / STEP_FILE).is_file():
        state, said = load_weights(folder), f"weights: {folder}"
    else:
        checkpoint = find_checkpoint(source)
        state, said = checkpoint.state, checkpoint.summary
    return f"{said} ({load_known(network, state, source)})"


def dinov2_state(name: str) -> dict[str, Tensor]:
    """timm's weights of a DINOv2 model, fetched by timm on first use.

    Raises:
        InputError: they are not cached and cannot be fetched.
    """
    import timm  # a second to import, wanted only here

    try:
        # dynamic_img_size stores the 37 x 37 position embedding as it was trained.
        return timm.create_model(name, pretrained=True, dynamic_img_size=True).state_dict()
    except Exception as error:  # timm and the hub raise many kinds, all with the same meaning here
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"init=dinov2: cannot get {name} through timm ({reason})") from error


def load_dinov2(backbone: nn.Module, state: Mapping[str, Tensor]) -> int:
    """Copy DINOv2 weights with timm's names into a backbone; returns how many tensors.

    Camera tokens and query/key norms, which DINOv2 lacks, stay fresh. A backbone with more blocks (two
    transformers) takes DINOv2 for the first ones.

    Raises:
        InputError: anything else is missing, left over, or of another shape.
    """
    own = backbone.state_dict()
    renamed = dict(state)
    if any(".mlp.w12." in k for k in own):  # timm calls the two layers of the giant's SwiGLU fc1 and fc2
        renamed = {k.replace(".fc1.", ".w12.").replace(".fc2.", ".w3."): v for k, v in state.items()}
    blocks = 1 + max(int(k.split(".")[1]) for k in renamed if k.startswith("blocks."))
    needed = {
        k
        for k in own
        if k != "camera_token"
        and not any(part in k for part in (".q_norm.", ".k_norm."))
        and not (k.startswith("blocks.") and int(k.split(".")[1]) >= blocks)
    }
    _require_same(renamed, {k: own[k] for k in needed}, "DINOv2")
    with torch.no_grad():
        for name in needed:
            own[name].copy_(renamed[name])
    return len(needed)


def load_known(network: nn.Module, state: Mapping[str, Tensor], source: str) -> str:
    """Load a checkpoint whose every tensor the network has; names what stays fresh.

    Spare layers of released checkpoints, which never run, are dropped. A network with additional parts (the
    teacher's object mask, separate heads) keeps those fresh.

    Raises:
        InputError: the checkpoint has tensors that the network has not, or other shapes, or only a few.
    """
    own = network.state_dict()
    given = {k: v for k, v in state.items() if ".spares." not in k}
    _require_same(given, {k: v for k, v in own.items() if k in given}, source)
    fresh = sorted(set(own) - set(given))
    if len(fresh) > len(own) // 2:
        raise InputError(f"{source}: holds {len(given)} of the network's {len(own)} tensors only")
    network.load_state_dict(dict(given), strict=False)
    prefixes = sorted({".".join(name.split(".")[:2]) for name in fresh})
    return f"fresh: {', '.join(prefixes)}" if fresh else "whole"


def _require_same(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    missing, unexpected = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    shapes = [k for k in wanted if k in given and given[k].shape != wanted[k].shape]
    for problem, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(f"{source}: does not fit the network; {problem}: {', '.join(names[:3])}{more}")

"""What a run starts from: DINOv2's backbone, a released or own checkpoint, or nothing."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from geometry.engine import load_weights
from geometry.errors import InputError
from geometry.weights.checkpoint import find_checkpoint
from geometry.weights.dinov2 import dinov2_state, load_dinov2
from geometry.weights.files import require_fit

STEP_FILE = "meta.json"  # a folder that holds it is a checkpoint of the training engine


def initialise(network: nn.Module, source: str | None) -> str:
    """Load starting weights into a fresh network, and say in one line what was loaded.

    With released weights, or what was trained from them, it then computes exactly as `geometry infer` does.

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
        name, weights = dinov2_state(network.backbone.width)  # type: ignore[arg-type, union-attr]
        fresh = load_dinov2(network.backbone, weights)  # type: ignore[arg-type]
        loaded = len(network.backbone.state_dict()) - len(fresh)  # type: ignore[union-attr]
        return f"weights: {loaded} tensors of the backbone from {name}, the rest fresh"
    folder = Path(source).expanduser()
    if (folder / STEP_FILE).is_file():
        state, said = load_weights(folder), f"weights: {folder}"
    else:
        checkpoint = find_checkpoint(source)
        state, said = checkpoint.state, checkpoint.summary
        if checkpoint.released:
            network.backbone.follow_released()  # type: ignore[operator, union-attr]
    return f"{said} ({load_known(network, state, source)})"


def load_known(network: nn.Module, state: Mapping[str, Tensor], source: str) -> str:
    """Load a checkpoint whose every tensor the network has; names what stays fresh.

    Spare layers of released checkpoints, which never run, are dropped. A network with additional parts (the
    teacher's object mask, separate heads) keeps those fresh.

    Raises:
        InputError: the checkpoint has tensors that the network has not, or other shapes, or only a few.
    """
    own = network.state_dict()
    given = {k: v for k, v in state.items() if ".spares." not in k}
    require_fit(given, {k: v for k, v in own.items() if k in given}, source, what="the network")
    fresh = sorted(set(own) - set(given))
    if len(fresh) > len(own) // 2:
        raise InputError(f"{source}: holds {len(given)} of the network's {len(own)} tensors only")
    network.load_state_dict(dict(given), strict=False)
    prefixes = sorted({".".join(name.split(".")[:2]) for name in fresh})
    return f"fresh: {', '.join(prefixes)}" if fresh else "whole"

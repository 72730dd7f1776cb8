"""The method that a config names."""

from typing import Any

import torch

from eval.commands.config import plain
from eval.methods.base import Method
from eval.methods.external import Function, Renders
from eval.methods.model import Model, load_model, optimised
from eval.methods.references import MeanColour, NearestView, Swept, WarpedView
from geometry.errors import InputError
from geometry.options import NetworkOptions
from nvs.options import GaussianOptions

NAMES = ("model", "nearest", "mean_colour", "warp", "optimise", "renders")
WARP_DEPTHS = ("sweep", "model")


def build_method(config: Any, device: torch.device) -> Method:
    """``method=`` as an object: a name of `NAMES`, or ``package.module:function``.

    Raises:
        InputError: no such method, or what it needs is not there.
    """
    name = str(config.method)
    if name == "model":
        return _model(config, device)
    if name == "warp":
        if config.warp.depth not in WARP_DEPTHS:
            raise InputError(f"warp.depth: expected {' or '.join(WARP_DEPTHS)}, got {config.warp.depth!r}")
        depth = Swept(**plain(config.sweep)) if config.warp.depth == "sweep" else _model(config, device)
        return WarpedView(depth, backend=config.backend)
    if name == "nearest":
        return NearestView()
    if name == "mean_colour":
        return MeanColour()
    if name == "optimise":
        steps, seed = int(config.optimise.steps), int(config.optimise.seed)
        return optimised(GaussianOptions(refine=steps, seed=seed, backend=config.backend), device)
    if name == "renders":
        if config.renders.folder is None:
            raise InputError("method=renders: expected renders.folder=DIR, the folder of the pictures")
        return Renders(**plain(config.renders))
    if ":" in name:
        return Function(name)
    raise InputError(f"method: expected one of {', '.join(NAMES)} or package.module:function, got {name!r}")


def _model(config: Any, device: torch.device) -> Model:
    return load_model(
        config.model,
        device=device,
        options=GaussianOptions(
            depth=config.depth,
            spacing=config.spacing,
            prune=config.prune,
            refine=config.refine,
            seed=config.seed,
            backend=config.backend,
        ),
        network=NetworkOptions(
            reference=config.reference, precision=config.precision, chunk=config.chunk, device=str(device)
        ),
    )

"""The method that options name."""

from dataclasses import replace

import torch

from eval.methods.base import Method
from eval.methods.external import Function, Renders
from eval.methods.ffgs import Ffgs
from eval.methods.model import Model, load_model, optimised
from eval.methods.references import MeanColour, NearestView, Swept, WarpedView
from eval.options import MethodOptions
from geometry.errors import InputError
from geometry.options import require_one_of
from nvs.options import GaussianOptions

NAMES = ("model", "nearest", "mean_colour", "warp", "optimise", "renders", "ffgs")


def build_method(options: MethodOptions, device: torch.device) -> Method:
    """A name of `NAMES`, or ``package.module:function``, as an object."""
    name, backend = options.name, options.gaussians.backend
    if name == "model":
        return _model(options, device)
    if name == "warp":
        require_one_of("warp.depth", options.warp_depth, ("sweep", "model"))
        depth = Swept(**options.sweep) if options.warp_depth == "sweep" else _model(options, device)
        return WarpedView(depth, backend=backend)
    if name == "nearest":
        return NearestView()
    if name == "mean_colour":
        return MeanColour()
    if name == "optimise":
        return optimised(GaussianOptions(refine=options.steps, seed=options.seed, backend=backend), device)
    if name == "renders":
        if options.renders is None:
            raise InputError("method=renders: expected renders.folder=DIR, the folder of the pictures")
        return Renders(options.renders, weights=options.weights, licence=options.licence)
    if name == "ffgs":
        return Ffgs(options.model, device)
    if ":" in name:
        return Function(name)
    raise InputError(f"method: expected one of {', '.join(NAMES)} or package.module:function, got {name!r}")


def _model(options: MethodOptions, device: torch.device) -> Model:
    network = replace(options.network, device=str(device))  # each process has its own
    return load_model(options.model, device, options.gaussians, network)

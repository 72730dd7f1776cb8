"""The method that options name."""

from collections.abc import Callable
from dataclasses import replace

import torch

from eval.methods.base import Method
from eval.methods.external import Function, Renders
from eval.methods.ffgs import Ffgs
from eval.methods.model import Model, load_model, optimised
from eval.methods.references import DepthSource, MeanColour, NearestView, Swept, WarpedView
from eval.options import MethodOptions
from geometry.options import require_one_of
from nvs.options import GaussianOptions


def build_method(options: MethodOptions, device: torch.device) -> Method:
    """One of these names, or ``package.module:function``, as an object."""
    backend = options.gaussians.backend
    if ":" in options.name:
        return Function(options.name)
    builders: dict[str, Callable[[], Method]] = {
        "model": lambda: _model(options, device),
        "nearest": NearestView,
        "mean_colour": MeanColour,
        "warp": lambda: WarpedView(_depth(options, device), backend=backend),
        "optimise": lambda: optimised(
            GaussianOptions(refine=options.steps, seed=options.seed, backend=backend), device
        ),
        "renders": lambda: Renders(options.renders, weights=options.weights, licence=options.licence),
        "ffgs": lambda: Ffgs(options.model, device),
    }
    require_one_of("method", options.name, (*builders, "package.module:function"))
    return builders[options.name]()


def _depth(options: MethodOptions, device: torch.device) -> DepthSource:
    require_one_of("warp.depth", options.warp_depth, ("sweep", "model"))
    return Swept(**options.sweep) if options.warp_depth == "sweep" else _model(options, device)


def _model(options: MethodOptions, device: torch.device) -> Model:
    network = replace(options.network, device=str(device))  # each process has its own
    return load_model(options.model, device, options.gaussians, network)

"""What a step draws for each sample: the reference view, and whether the cameras are shown."""

from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from geometry.errors import InputError

Reference = Literal["random", "first"]


def draw_conditioned(
    samples: int, probability: float, *, generator: torch.Generator
) -> Bool[Tensor, " samples"]:
    """Which samples see their cameras: each on its own with this probability.

    Source: DA3 (arXiv:2511.10647), pose conditioning with probability 0.2.
    """
    return torch.rand(samples, generator=generator, device=generator.device) < probability


def draw_reference(
    samples: int,
    views: int,
    conditioned: Bool[Tensor, " samples"],
    kind: Reference,
    *,
    generator: torch.Generator,
) -> Int[Tensor, " samples"]:
    """Index of each sample's reference view, whose camera is the world of its truth.

    How the paper's training chose it is not stated. Ours: at random, so that no place in the list of views is
    special. With given cameras it is view 0, because those are handed over in view 0's frame
    (`geometry.predict.condition`) and the network answers in the frame of what it was given.
    """
    if kind == "random":
        drawn = torch.randint(views, (samples,), generator=generator, device=generator.device)
    elif kind == "first":
        drawn = torch.zeros(samples, dtype=torch.long, device=generator.device)
    else:
        raise InputError(f"reference must be random or first, got {kind!r}")
    return torch.where(conditioned, 0, drawn)

"""Which view's camera becomes the world frame, chosen half-way through the backbone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.options import STRATEGIES


def choose_reference(tokens: Float[Tensor, "B V D"], strategy: str) -> Int[Tensor, " B"]:
    """Index of the reference view of each scene.

    Args:
        tokens: class token of every view, raw residual stream.
        strategy: ``first``; ``middle``; ``saddle_balanced``: the view nearest the middle of the range in
            similarity to the others, token norm and token variance; ``saddle_sim_range``: the view with
            the widest range of similarities.

    Raises:
        ValueError: unknown strategy.

    Source: the released DA3 network.
    """
    B, V, _ = tokens.shape
    if strategy == "first":
        return torch.zeros(B, dtype=torch.long, device=tokens.device)
    if strategy == "middle":
        return torch.full((B,), V // 2, dtype=torch.long, device=tokens.device)
    tokens = tokens.float()
    norms = tokens.norm(dim=-1)
    unit = tokens / norms[..., None]
    similarity = unit @ unit.mT - torch.eye(V, device=tokens.device)  # [B, V, V]
    if strategy == "saddle_balanced":
        scores = torch.stack((similarity.sum(-1) / (V - 1), norms, unit.var(dim=-1)))  # [3, B, V]
        low, high = scores.amin(-1, keepdim=True), scores.amax(-1, keepdim=True)
        scores = (scores - low) / (high - low + 1e-8)
        return (scores - 0.5).abs().sum(0).argmin(-1)
    if strategy == "saddle_sim_range":
        return (similarity.amax(-1) - similarity.amin(-1)).argmax(-1)
    raise ValueError(f"unknown reference strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")

"""L_A: attention across views looks where the same surface is."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.losses.reduce import mean_of_views
from geometry.ops.correspondence import PatchMatches


def matching_loss(
    logits: Float[Tensor, "B heads Q V S"], matches: PatchMatches
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """L_A = -1/|F| sum_{q in F} sum_k w_qk log softmax_k(<q, k> / sqrt d), the mean over heads and scenes.

    F are the patches whose surface some other view shows. All tokens of the scene compete, those of the
    patch's own view and the special ones included.

    Args:
        logits: products of the asking patches' queries with the keys of all tokens, over the root of the
            head's width. The first of a view's S tokens is its camera token; T = S - 1 patches follow.

    Returns:
        The loss, and the share of F for which the strongest patch or token is one of the true four.

    Source: ours. DA3 leaves attention to find its use, which takes longer than a short run has
    (docs/geometry-training.md).
    """
    S = logits.shape[-1]
    flat = logits.flatten(-2)
    view, patch = matches.matches // (S - 1), matches.matches % (S - 1)
    token = (view * S + 1 + patch)[:, None].expand(-1, flat.shape[1], -1, -1)  # [B, heads, Q, K]
    weights, found = matches.weights[:, None], matches.found[:, None].expand(flat.shape[:3])
    of_matches = flat.log_softmax(-1).gather(-1, token)
    loss = mean_of_views(-(weights * of_matches).sum(-1), found)
    with torch.no_grad():
        strongest = flat.argmax(-1, keepdim=True)
        right = ((token == strongest) & (weights > 0)).any(-1)
        accuracy = mean_of_views(right.to(loss.dtype), found)
    return loss, accuracy

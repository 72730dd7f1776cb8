"""L_C: cameras as nine numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.losses.reduce import Components, l1


def camera_loss(
    encoding: Float[Tensor, "B V 9"], target: Float[Tensor, "B V 9"], *, components: Components = "mean"
) -> Float[Tensor, ""]:
    """L_C = |v^ - v|_1 with v = (t, quaternion xyzw, fields of view), averaged over views.

    q and -q are one rotation: the nearer of the two is the target, since a fixed sign would punish correct
    rotations near a half turn. The predicted quaternion is not normalised first, so that its norm, which
    nothing else holds, is drawn to 1.

    Args:
        target: `encode_cameras` of the normalised cameras.

    Source: DA3 (arXiv:2511.10647) section 3; the sign rule is ours.
    """
    flipped = torch.cat((target[..., :3], -target[..., 3:7], target[..., 7:]), dim=-1)
    return torch.minimum(l1(encoding, target, components), l1(encoding, flipped, components)).mean()

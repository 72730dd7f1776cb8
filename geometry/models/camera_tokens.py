"""Camera encoder and decoder: given cameras to tokens, tokens to predicted cameras."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from geometry.layers.block import Block
from geometry.layers.mlp import Mlp
from geometry.ops.pose_encoding import encode_cameras
from geometry.views import Cameras


class CameraEncoder(nn.Module):
    """One token per given camera: an MLP on its nine numbers, then attention between the views.

    Source: DA3 (arXiv:2511.10647) section 3, camera condition injection; sizes as released.
    """

    def __init__(self, width: int, *, depth: int = 4, heads: int = 16) -> None:
        super().__init__()
        self.pose_branch = Mlp(9, hidden=width // 2, out=width)
        self.token_norm = nn.LayerNorm(width)
        self.trunk = nn.Sequential(
            *(Block(width, heads, norm_eps=1e-5, layer_scale=0.01) for _ in range(depth))
        )
        self.trunk_norm = nn.LayerNorm(width)

    def forward(
        self, cameras: Cameras, image_size: tuple[int, int], known: Bool[Tensor, "B V"] | None = None
    ) -> Float[Tensor, "B V D"]:
        """Tokens of cameras; those of known ones see nothing of the others, whose tokens mean nothing."""
        tokens = self._tokens(cameras, image_size)
        if known is not None and (partly := known.any(1) & ~known.all(1)).any():
            tokens = tokens.clone()
            for scene in partly.nonzero()[:, 0].tolist():
                chosen = known[scene].nonzero()[:, 0]
                tokens[scene, chosen] = self._tokens(cameras[scene : scene + 1, chosen], image_size)[0]
        return tokens

    def _tokens(self, cameras: Cameras, image_size: tuple[int, int]) -> Float[Tensor, "B V D"]:
        tokens = self.token_norm(self.pose_branch(encode_cameras(cameras, image_size)))
        return self.trunk_norm(self.trunk(tokens))


class CameraDecoder(nn.Module):
    """Pose encoding of each view from its camera token.

    Source: DA3 (arXiv:2511.10647) section 3, camera head; an MLP as in the released network.
    """

    def __init__(self, in_width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(in_width, in_width), nn.ReLU(), nn.Linear(in_width, in_width), nn.ReLU()
        )
        self.translation = nn.Linear(in_width, 3)
        self.quaternion = nn.Linear(in_width, 4)
        self.fov = nn.Linear(in_width, 2)
        # Fields of view pass a ReLU: start them at a common lens (about 57 degrees), not on its dead side.
        nn.init.trunc_normal_(self.fov.weight, std=0.01)
        nn.init.ones_(self.fov.bias)
        nn.init.trunc_normal_(self.quaternion.weight, std=0.01)
        with torch.no_grad():
            self.quaternion.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))

    def forward(self, tokens: Float[Tensor, "B V D"]) -> Float[Tensor, "B V 9"]:
        x = self.trunk(tokens)
        return torch.cat((self.translation(x), self.quaternion(x), self.fov(x).relu()), dim=-1)

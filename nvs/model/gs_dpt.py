"""GS-DPT: one Gaussian's raw parameters and density per pixel, from frozen backbone features."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.layers.uv_embed import add_uv_embedding
from geometry.models.dpt import DenseHead, Fusion, Reassemble, resize


class GaussianDpt(DenseHead):
    """DPT decoder with a shallow branch for image detail.

    Args:
        in_width: channels of the patch features.
        raw_channels: parameters per pixel, density not counted; the adapter says what they are.

    Source: DA3 (arXiv:2511.10647) section 5, GS-DPT; layers as in the released head.
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int, *, raw_channels: int) -> None:
        super().__init__(features)
        half = features // 2
        self.reassemble = Reassemble(in_width, channels, features, pre_norm=False, uv=True)
        self.fusion = Fusion(features)
        self.neck = nn.Conv2d(features, half, 3, padding=1)
        self.image_branch = nn.Sequential(
            nn.Conv2d(3, features // 8, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(features // 8, features // 4, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(features // 4, half, 3, padding=1),
            nn.GELU(),
        )
        self.out = nn.Sequential(
            nn.Conv2d(half, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, raw_channels + 1, 1)
        )

    def forward(
        self,
        patches: Sequence[Float[Tensor, "B V T D"]],
        grid: tuple[int, int],
        images: Float[Tensor, "B V 3 H W"],
        chunk: int = 8,
    ) -> tuple[Float[Tensor, "B V H W C"], Float[Tensor, "B V H W"]]:
        """Raw parameters (linear) and density (0..1).

        Args:
            grid: (h, w) patches.
            images: normalised as for the backbone.
            chunk: views at a time, at most.
        """
        H, W = images.shape[-2:]

        def run(patches: list[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
            x = self.fusion(self.reassemble(patches, grid, W / H))
            # Channels last in memory, as the maps are: quicker convolutions, and a sum of like with like.
            images = images.contiguous(memory_format=torch.channels_last)
            x = resize(self.neck(x), (H, W)).add_(self.image_branch(images))
            x = self.out(add_uv_embedding(x, W / H)).movedim(1, -1)  # [n, H, W, C + 1]
            return x[..., :-1], x[..., -1].sigmoid()

        with torch.autocast(images.device.type, enabled=False):
            raw, density = self.over_views(run, chunk, grid, patches, images)
        return raw, density

"""Images to patch tokens, and the position embedding at any grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Non-overlapping patches, row by row, each through one linear map."""

    def __init__(self, width: int, patch: int = 14) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, images: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n T D"]:
        # The same numbers as the convolution, as one matrix product over unfolded patches: CPUs run
        # it several times faster than a strided convolution, and GPUs no slower.
        n, _, H, W = images.shape
        p = self.patch
        patches = images.reshape(n, 3, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3).flatten(1, 2), self.proj.weight.flatten(1), self.proj.bias)


def resample_positions(
    embedding: Float[Tensor, "1 n D"], grid: tuple[int, int], *, offset: float | None
) -> Float[Tensor, "1 m D"]:
    """Position embedding of a square stored grid (one class entry first) at another patch grid.

    Args:
        grid: (h, w) patches wanted.
        offset: None resizes the grid to (h, w), antialiased, as timm does. The released DA3 weights
            were trained with DINOv2's original form instead, which hands ``(h + 0.1) / stored`` to
            the bicubic sampler as its scale: a slightly different sampling, and part of the weights.
    """
    stored = round((embedding.shape[1] - 1) ** 0.5)
    if grid == (stored, stored):
        return embedding
    first, patches = embedding[:, :1].float(), embedding[:, 1:].float()
    patches = patches.unflatten(1, (stored, stored)).permute(0, 3, 1, 2)
    h, w = grid
    if offset is None:
        patches = F.interpolate(patches, size=(h, w), mode="bicubic", antialias=True)
    else:
        scale = ((h + offset) / stored, (w + offset) / stored)
        patches = F.interpolate(patches, scale_factor=scale, mode="bicubic", recompute_scale_factor=False)
    assert patches.shape[-2:] == grid
    return torch.cat((first, patches.flatten(2).mT), dim=1).to(embedding.dtype)

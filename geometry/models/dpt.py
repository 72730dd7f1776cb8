"""Dense prediction transformer: reassemble and fuse. Every dense head is built from these parts."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.accelerate.linear import in_pieces, linear
from geometry.layers.uv_embed import add_uv_embedding

# A head on a CPU takes as many views at a time as keep its widest maps at 8 cells per patch within this:
# near the cache, and under the 32 MB above which every allocation is fresh pages from the kernel.
BYTES_IN_CACHE = 16 << 20


class Reassemble(nn.Module):
    """Four levels of patch features to four maps of one width, at 4, 2, 1 and 1/2 cells per patch.

    Args:
        in_width: channels of the patch features.
        channels: channels of the four levels before they are brought to ``features``.
        pre_norm: one LayerNorm shared by all levels.
        uv: add the image-plane embedding after each projection.

    Source: Ranftl et al., Vision transformers for dense prediction (arXiv:2103.13413).
    """

    def __init__(
        self, in_width: int, channels: Sequence[int], features: int, *, pre_norm: bool, uv: bool
    ) -> None:
        super().__init__()
        self.uv = uv
        self.norm = nn.LayerNorm(in_width) if pre_norm else nn.Identity()
        self.project = nn.ModuleList(nn.Conv2d(in_width, c, 1) for c in channels)
        self.resize = nn.ModuleList(
            (
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            )
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, features, 3, padding=1, bias=False) for c in channels)

    def forward(
        self, patches: Sequence[Float[Tensor, "n T D"]], grid: tuple[int, int], aspect: float
    ) -> list[Float[Tensor, "n F h w"]]:
        maps = []
        for x, project, resize, lateral in zip(patches, self.project, self.resize, self.lateral):
            # A 1 x 1 convolution is a linear map of tokens. Seen as maps, its output is channels-last in
            # memory, and so is everything after it: the layout of CPUs' fastest convolutions.
            x = linear(self.norm(x), project.weight.flatten(1), project.bias)
            x = x.unflatten(1, grid).movedim(-1, 1)
            if self.uv:
                x = add_uv_embedding(x, aspect)
            maps.append(lateral(resize(x)))
        return maps


class ResidualUnit(nn.Module):
    """``x + conv(relu(conv(relu(x))))``.

    What a convolution returns belongs to nobody else and is not needed by its gradient, so this and the
    other parts change it in place.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Float[Tensor, "n F h w"]) -> Float[Tensor, "n F h w"]:
        return self.conv2(F.relu_(self.conv1(F.relu(x)))).add_(x)


class FusionBlock(nn.Module):
    """Adds a finer map to the coarse one, refines, and resizes."""

    def __init__(self, features: int, *, lateral: bool) -> None:
        super().__init__()
        self.lateral_unit = ResidualUnit(features) if lateral else None
        self.unit = ResidualUnit(features)
        self.out = nn.Conv2d(features, features, 1)

    def forward(
        self,
        top: Float[Tensor, "n F h w"],
        lateral: Float[Tensor, "n F h w"] | None,
        size: tuple[int, int],
    ) -> Float[Tensor, "n F H W"]:
        if self.lateral_unit is not None:
            top = self.lateral_unit(lateral).add_(top)
        # The 1 x 1 convolution commutes with bilinear resizing (its weights sum to 1, so the bias too);
        # run on the small map it costs a quarter.
        return resize(self.out(self.unit(top)), size)


class Fusion(nn.Module):
    """The chain of fusion blocks from the coarsest map to twice the finest: 8 cells per patch."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FusionBlock(features, lateral=level < 3) for level in range(4))

    def forward(self, maps: Sequence[Float[Tensor, "n F h w"]]) -> Float[Tensor, "n F H W"]:
        top = None
        for level in (3, 2, 1, 0):
            if level:
                size = maps[level - 1].shape[-2:]
            else:
                size = (2 * maps[0].shape[-2], 2 * maps[0].shape[-1])
            top = self.blocks[level](
                maps[3] if top is None else top, None if top is None else maps[level], size
            )
        return top


def resize(x: Float[Tensor, "n D h w"], size: tuple[int, int]) -> Float[Tensor, "n D H W"]:
    """Bilinear, corner pixels kept in the corners, as DPT heads are trained."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def over_views(
    function: Callable[..., tuple[Tensor, ...]],
    chunk: int,
    bytes_per_view: int,
    *tensors: Sequence[Tensor] | Tensor,
) -> tuple[Tensor, ...]:
    """Apply a head to ``chunk`` views at a time and join the results: the peak does not grow with views.

    Each argument is a [n, ...] tensor or a list of such; views do not interact, so the numbers are those
    of one call.

    Args:
        chunk: at most this many; inference on a CPU takes fewer (`BYTES_IN_CACHE`).
        bytes_per_view: of the head's widest map at 8 cells per patch.
    """
    first = tensors[0] if torch.is_tensor(tensors[0]) else tensors[0][0]
    if in_pieces(first):
        chunk = min(chunk, max(1, BYTES_IN_CACHE // bytes_per_view))
    n = len(first)
    if n <= chunk:
        return function(*tensors)

    def part(start: int) -> tuple[Tensor, ...]:
        piece = slice(start, start + chunk)
        return function(*(t[piece] if torch.is_tensor(t) else [u[piece] for u in t] for t in tensors))

    starts = range(0, n, chunk)
    if torch.is_grad_enabled():
        return tuple(torch.cat(column) for column in zip(*map(part, starts)))
    joined: tuple[Tensor, ...] = ()  # filled as parts come, so that results are never held twice
    for start in starts:
        results = part(start)
        joined = joined or tuple(r.new_empty(n, *r.shape[1:]) for r in results)
        for whole, result in zip(joined, results):
            whole[start : start + chunk] = result
    return joined


def map_bytes(features: int, grid: tuple[int, int]) -> int:
    """Bytes of one view's float32 map of ``features`` channels at 8 cells per patch."""
    return 4 * features * 64 * grid[0] * grid[1]

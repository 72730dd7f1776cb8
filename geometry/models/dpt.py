"""Dense prediction transformer: reassemble and fuse. Every dense head is built from these parts."""

from collections.abc import Callable, Sequence
from threading import Lock

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from geometry.layers.uv_embed import add_uv_embedding


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
    ) -> list[Float[Tensor, "n F _ _"]]:
        maps = []
        for x, project, resize, lateral in zip(patches, self.project, self.resize, self.lateral):
            # Tokens seen as maps are channels-last in memory, and so is everything after: the layout of
            # the fastest convolutions on CPUs.
            x = project(self.norm(x).unflatten(1, grid).movedim(-1, 1))
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
        self, top: Float[Tensor, "n F h w"], lateral: Float[Tensor, "n F h w"] | None, size: tuple[int, int]
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

    def forward(self, maps: Sequence[Float[Tensor, "n F _ _"]]) -> Float[Tensor, "n F H W"]:
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


class DenseHead(nn.Module):
    """What dense heads do alike: some views at a time, so that the peak does not grow with views."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features  # channels of the widest maps
        # Keep no activations of a chunk for the backward pass: it is computed once more there.
        self.recompute = False

    def views_at_once(self, chunk: int, patches: Float[Tensor, "n T D"], cells: int) -> int:
        """How many views to take at a time, at most ``chunk``; ``cells`` are those of a view's widest map."""
        return chunk

    def each(self, part: Callable[[int], None], starts: Sequence[int], patches: Tensor) -> None:
        """``part(start)`` of all, in any order; ``patches`` say where they run."""
        for start in starts:
            part(start)

    def over_views(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        chunk: int,
        grid: tuple[int, int],
        patches: Sequence[Float[Tensor, "B V T D"]],
        *more: Float[Tensor, "B V *_"],
    ) -> tuple[Tensor, ...]:
        """``function(patches, *more)`` in float32 over at most ``chunk`` views of all scenes at a time.

        Views do not interact, so the numbers, [B, V, ...] each, are those of one call.
        """
        B, V = patches[0].shape[:2]
        tensors = [x.flatten(0, 1).float() for x in (*patches, *more)]
        levels = len(patches)
        chunk = self.views_at_once(chunk, tensors[0], 64 * grid[0] * grid[1])

        def of(*pieces: Tensor) -> tuple[Tensor, ...]:
            return function(list(pieces[:levels]), *pieces[levels:])

        def part(start: int) -> tuple[Tensor, ...]:
            pieces = [x[start : start + chunk] for x in tensors]
            if self.recompute and torch.is_grad_enabled():
                return checkpoint(of, *pieces, use_reentrant=False)
            return of(*pieces)

        if chunk >= B * V:  # asked in this form, as torch.export leaves the number of views open
            return tuple(x.unflatten(0, (B, V)) for x in function(tensors[:levels], *tensors[levels:]))
        starts = range(0, B * V, chunk)
        if torch.is_grad_enabled():
            joined = tuple(torch.cat(column) for column in zip(*map(part, starts)))
        else:
            joined, alone = (), Lock()  # filled as parts come, so that results are never held twice

            def write(start: int) -> None:
                nonlocal joined
                results = part(start)
                with alone:
                    joined = joined or tuple(r.new_empty(B * V, *r.shape[1:]) for r in results)
                for whole, result in zip(joined, results):
                    whole[start : start + chunk] = result

            self.each(write, starts, tensors[0])
        return tuple(x.unflatten(0, (B, V)) for x in joined)

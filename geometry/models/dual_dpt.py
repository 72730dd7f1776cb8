"""Dual-DPT: depth and rays from one reassembly and two fusion chains."""

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geometry.layers.uv_embed import add_uv_embedding
from geometry.models.dpt import DenseHead, Fusion, Reassemble, resize
from geometry.prediction import Features


class DualDpt(DenseHead):
    """Depth with confidence at full size, and rays with confidence on 8 x 8 cells per patch.

    Args:
        spares: also hold the layers of three coarser ray levels that the released checkpoints carry.
            They were evaluated and thrown away there; here they never run, and exist so that such a
            checkpoint is held whole.

    Source: DA3 (arXiv:2511.10647) section 3, Dual-DPT head; activations as in the released network.
    """

    def __init__(
        self, in_width: int, channels: Sequence[int], features: int, *, spares: bool = False
    ) -> None:
        super().__init__(features)
        self.reassemble = Reassemble(in_width, channels, features, pre_norm=True, uv=True)
        half = features // 2

        self.depth_fusion = Fusion(features)
        self.depth_neck = nn.Conv2d(features, half, 3, padding=1)
        self.depth_out = _output(half, 2)

        self.ray_fusion = Fusion(features)
        self.ray_neck = _ray_neck(features)
        self.ray_conv = nn.Conv2d(half, 32, 3, padding=1)
        self.ray_norm = nn.LayerNorm(32)
        self.ray_out = nn.Conv2d(32, 7, 1)
        if spares:
            self.spares = nn.ModuleList(_spare(features) for _ in range(3)).requires_grad_(False)

    def forward(
        self, features: Features, chunk: int = 8, *, rays: bool = True
    ) -> tuple[
        Float[Tensor, "B V H W"],
        Float[Tensor, "B V H W"],
        Float[Tensor, "B V h w 6"] | None,
        Float[Tensor, "B V h w"] | None,
    ]:
        """Depth, its confidence, rays (direction, origin) and theirs, None where not wanted."""
        H, W = features.image_size

        def run(patches: list[Tensor]) -> tuple[Tensor, ...]:
            maps = self.reassemble(patches, features.grid, W / H)
            depth = self._depth(maps, (H, W))
            if not rays:
                return depth
            return depth + self._rays(self._ray_maps(maps, patches, features.grid, W / H), W / H)

        depth, conf, *of_rays = self.over_views(run, chunk, features.grid, features.patches)
        ray, ray_conf = of_rays if rays else (None, None)
        return depth, conf, ray, ray_conf

    def _ray_maps(
        self, maps: list[Tensor], patches: list[Tensor], grid: tuple[int, int], aspect: float
    ) -> list[Tensor]:
        return maps

    def _depth(self, maps: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        x = resize(self.depth_neck(self.depth_fusion(maps)), size)
        logits = self.depth_out(add_uv_embedding(x, size[1] / size[0]))
        return logits[:, 0].exp(), logits[:, 1].exp() + 1

    def _rays(self, maps: list[Tensor], aspect: float) -> tuple[Tensor, Tensor]:
        x = add_uv_embedding(self.ray_neck(self.ray_fusion(maps)), aspect)
        x = F.relu_(self.ray_norm(self.ray_conv(x).movedim(1, -1)))  # the norm is over channels
        x = self.ray_out(x.movedim(-1, 1)).movedim(1, -1)  # [n, h, w, 7]
        return x[..., :6], x[..., 6].exp() + 1


def _output(width: int, channels: int) -> nn.Sequential:
    """The last layers of depth and masks."""
    return nn.Sequential(
        nn.Conv2d(width, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, channels, 1)
    )


def _spare(features: int) -> nn.ModuleDict:
    conv, out = nn.Conv2d(features // 2, 32, 3, padding=1), nn.Conv2d(32, 7, 1)
    return nn.ModuleDict({"neck": _ray_neck(features), "conv": conv, "out": out})


def _ray_neck(features: int) -> nn.Sequential:
    """Five convolutions with no activation between them, as released."""
    half = features // 2
    widths = (features, half, features, half, features, half)
    return nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)))


class SeparateDpt(DualDpt):
    """The ablation, two heads that share nothing: the ray branch has a reassembly of its own too.

    Source: DA3 (arXiv:2511.10647), ablation of the Dual-DPT head.
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(in_width, channels, features)
        self.ray_reassemble = Reassemble(in_width, channels, features, pre_norm=True, uv=True)

    def _ray_maps(
        self, maps: list[Tensor], patches: list[Tensor], grid: tuple[int, int], aspect: float
    ) -> list[Tensor]:
        return self.ray_reassemble(patches, grid, aspect)


class MonocularDpt(DenseHead):
    """One DPT decoder for relative depth and a sky mask; no confidence, no rays.

    Source: DA3 (arXiv:2511.10647) section 4 (teacher, monocular and metric models).
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(features)
        self.reassemble = Reassemble(in_width, channels, features, pre_norm=False, uv=False)
        self.fusion = Fusion(features)
        half = features // 2
        self.neck = nn.Conv2d(features, half, 3, padding=1)
        self.depth_out, self.sky_out = _output(half, 1), _output(half, 1)
        # Sky passes a ReLU: started on its dead side it would never learn.
        nn.init.constant_(self.sky_out[-1].bias, 0.5)  # type: ignore[arg-type]

    def forward(
        self, features: Features, chunk: int = 8
    ) -> tuple[Float[Tensor, "B V H W"], Float[Tensor, "B V H W"]]:
        """Depth, and sky (about 1 on sky)."""
        H, W = features.image_size

        def run(patches: list[Tensor]) -> tuple[Tensor, Tensor]:
            x = self.fusion(self.reassemble(patches, features.grid, W / H))
            x = resize(self.neck(x), (H, W))
            return self.depth_out(x)[:, 0].exp(), self.sky_out(x)[:, 0].relu()

        depth, sky = self.over_views(run, chunk, features.grid, features.patches)
        return depth, sky

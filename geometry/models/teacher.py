"""The teacher: the monocular network with a mask of objects, which only training needs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry.models.da3 import MonocularDepth, normalise_images
from geometry.models.dpt import resize
from geometry.models.dual_dpt import MonocularDpt
from geometry.prediction import Features, Geometry
from geometry.views import Views


class TeacherDpt(MonocularDpt):
    """`MonocularDpt` with a third output for the mask of foreground objects.

    Source: DA3 (arXiv:2511.10647) section 4, L_obj. The head is ours: it is like the sky's.
    """

    def __init__(self, in_width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(in_width, channels, features)
        self.objects_out = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1)
        )

    def masks(
        self, features: Features, chunk: int
    ) -> tuple[Float[Tensor, "B V H W"], Float[Tensor, "B V H W"], Float[Tensor, "B V H W"]]:
        """Depth, sky, and objects (about 1 on them)."""
        H, W = features.image_size

        def run(patches: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            x = resize(self.neck(self.fusion(self.reassemble(patches, features.grid, W / H))), (H, W))
            # Objects pass no activation: a ReLU can die at 0, and nothing at inference reads this mask.
            return self.depth_out(x)[:, 0].exp(), self.sky_out(x)[:, 0].relu(), self.objects_out(x)[:, 0]

        return self.over_views(run, chunk, features.grid, features.patches)  # type: ignore[return-value]


class TeacherDepth(MonocularDepth):
    """`MonocularDepth` with an object mask; otherwise the same network."""

    depth_head: TeacherDpt

    def forward_masks(self, views: Views, chunk: int) -> tuple[Geometry, Float[Tensor, "B V H W"]]:
        """Geometry without sky filling, and the mask of objects."""
        features = self.encode(normalise_images(views.images))
        with torch.autocast(views.images.device.type, enabled=False):
            depth, sky, objects = self.depth_head.masks(features, chunk)
        return Geometry(depth=depth, sky=sky, features=features), objects
